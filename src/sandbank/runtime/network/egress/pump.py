"""Bytes from one socket to another, with no memory of our own in between."""

from __future__ import annotations

import asyncio
import socket

_CHUNK = 256 * 1024
# One for all: what is read is peeked at, and taken out of the kernel's buffer only as far as the other side has taken it.
_shared = bytearray(_CHUNK)
_view = memoryview(_shared)


class Pump:
    """One direction. It ends with `done`: True after the source's end was passed on, an `OSError` when either side broke."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._target = target
        self.moved_at = self._loop.time()
        self.done: asyncio.Future[bool] = self._loop.create_future()

    def start(self) -> None:
        """Begin; both sockets are non-blocking and stay open until `stop`."""
        self._loop.add_reader(self._source, self._readable)

    def stop(self) -> None:
        """End it where it is. Idempotent; must come before the sockets are closed."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._target)
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # seen: when both directions break, one is reported

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(_view, _CHUNK, socket.MSG_PEEK)
            if not count:
                self._loop.remove_reader(self._source)
                self._target.shutdown(socket.SHUT_WR)
                self.done.set_result(True)
                return
            try:
                sent = self._target.send(_view[:count])
            except BlockingIOError:
                sent = 0
            if sent:
                self._source.recv_into(_view, sent, socket.MSG_TRUNC)
                self.moved_at = self._loop.time()
            if sent < count:
                self._loop.remove_reader(self._source)
                self._loop.add_writer(self._target, self._writable)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)

    def _writable(self) -> None:
        self._loop.remove_writer(self._target)
        self._loop.add_reader(self._source, self._readable)

    def _fail(self, error: OSError) -> None:
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._target)
        if not self.done.done():
            self.done.set_exception(error)


async def both_ways(one: socket.socket, other: socket.socket, idle_seconds: float) -> None:
    """Until both sides have ended, each for itself. `OSError` when either breaks, `TimeoutError` when nothing moves for so long."""
    pumps = [Pump(one, other), Pump(other, one)]
    await run(pumps, idle_seconds)


async def run(pumps: list[Pump], idle_seconds: float) -> None:
    """Until all have ended, see `both_ways`."""
    loop = asyncio.get_running_loop()
    try:
        for pump in pumps:
            pump.start()
        waiting = {pump.done for pump in pumps}
        while waiting:
            left = idle_seconds - (loop.time() - max(pump.moved_at for pump in pumps))
            if left <= 0:
                raise TimeoutError
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
            for ended in done:
                ended.result()
    finally:
        for pump in pumps:
            pump.stop()
