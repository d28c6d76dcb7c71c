"""TLS to an egress proxy, as a plain socket for those who only know sockets."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections import OrderedDict

from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.driver import ProxyTls

_CHUNK = 16 * 1024
_CONTEXTS = 64
_HALF_CLOSED_SECONDS = 600.0  # for the answer to what was sent before the sandbox ended its direction


class Tunnels:
    """Between a socket pair and a TLS connection bytes are carried by tasks of `tasks`: a record at a time in each direction."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._contexts: OrderedDict[str | None, ssl.SSLContext] = OrderedDict()
        self._making = asyncio.Lock()
        self._hang_ups: _HangUps | None = None

    async def wrap(self, sock: socket.socket, host: str, tls: ProxyTls) -> socket.socket:
        """A socket that speaks cleartext to what `sock` speaks TLS to, its certificate verified. Takes `sock` over when it returns.

        `OSError` when that fails (`ssl.SSLError` is one).
        """
        try:
            connection = _Connection(sock, await self._context(tls.ca_cert), tls.server_name or host)
        except ValueError as error:
            raise OSError("TLS to the egress proxy is not possible as configured") from error
        await connection.handshake()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        if self._hang_ups is None:
            self._hang_ups = _HangUps()
        self._tasks.start("tunnel", connection.carry(theirs, self._hang_ups))
        return ours

    def close(self) -> None:
        """To be called when `tasks` is closed."""
        if self._hang_ups is not None:
            self._hang_ups.close()
            self._hang_ups = None

    async def _context(self, ca_cert: str | None) -> ssl.SSLContext:
        """Kept: reading the node's certificates takes as long as a hundred requests, and a sandbox opens connections as it likes."""
        async with self._making:
            if ca_cert not in self._contexts:
                self._contexts[ca_cert] = await asyncio.to_thread(ssl.create_default_context, cadata=ca_cert)
                if len(self._contexts) > _CONTEXTS:
                    self._contexts.popitem(last=False)
            self._contexts.move_to_end(ca_cert)
            return self._contexts[ca_cert]


class _HangUps:
    """Tells when the other end of a socket pair is closed for good, and not only for one direction, which reading cannot tell.

    The kernel says so also while nobody reads or writes. One descriptor for all pairs.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._poll, self._look)

    def of(self, inner: socket.socket) -> asyncio.Future[None]:
        """Done once it happens; `forget` must come before `inner` is closed."""
        self._poll.register(inner, 0)  # hanging up is reported always
        gone = self._waiting[inner.fileno()] = self._loop.create_future()
        return gone

    def forget(self, inner: socket.socket) -> None:
        if self._waiting.pop(inner.fileno(), None) is not None:
            self._poll.unregister(inner)

    def _look(self) -> None:
        for descriptor, _ in self._poll.poll(0):
            self._poll.unregister(descriptor)
            self._waiting.pop(descriptor).set_result(None)

    def close(self) -> None:
        self._loop.remove_reader(self._poll)
        self._poll.close()


class _Connection:
    """asyncio's own TLS cannot end one direction, which here is a close_notify after which the other goes on."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._sending = asyncio.Lock()

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise OSError("the egress proxy closed the connection") from None
            else:
                await self._flush()
                return

    async def carry(self, inner: socket.socket, hang_ups: _HangUps) -> None:
        """Until both directions have ended, or nobody wants more: a peer that takes nothing must not keep it."""
        gone = hang_ups.of(inner)
        tasks = TaskGroup("tunnel", lambda _name, _error: None)
        try:
            back, out = tasks.start("inwards", self._inwards(inner)), tasks.start("outwards", self._outwards(inner))
            await asyncio.wait({back, out, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not back.done():
                await asyncio.wait({back, gone}, timeout=_HALF_CLOSED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hang_ups.forget(inner)
            await tasks.close()
            self._sock.close()
            inner.close()

    async def _outwards(self, inner: socket.socket) -> None:
        while data := await self._loop.sock_recv(inner, _CHUNK):
            self._tls.write(data)
            await self._flush()
        with contextlib.suppress(ssl.SSLError):  # it wants the peer's end, which comes when it comes
            self._tls.unwrap()
        await self._flush()

    async def _inwards(self, inner: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while True:
                try:
                    data = self._tls.read(_CHUNK)
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._fill():
                        break
                    continue
                if not data:
                    break
                await self._loop.sock_sendall(inner, data)
        inner.shutdown(socket.SHUT_WR)

    async def _fill(self) -> bool:
        data = await self._loop.sock_recv(self._sock, _CHUNK)
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._outgoing.read():
                await self._loop.sock_sendall(self._sock, data)
