"""One client connection: requests in, one handler at a time, answers out."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

from sandbank.aiokit.tasks import TaskGroup
from sandbank.envd.transport.body import HIGH_WATER_BYTES, LOW_WATER_BYTES, RequestBody
from sandbank.envd.transport.connections import Connections
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

Handler = Callable[[Request, Response], Awaitable[None]]
Report = Callable[[str, BaseException], None]

IDLE_SECONDS = 640.0  # data-plane contract §1
LINGER_SECONDS = 5.0  # how long a refused upload is read and dropped, so that the client sees the answer and not a reset
MAX_HEAD_BYTES = 256 * 1024  # a mebibyte in the reference; file paths of 4 KiB and some headers are far below
MAX_HEADERS = 512
MAX_UNACCOUNTED_BYTES = 2 * MAX_HEAD_BYTES  # beyond any head with what one read brings before it
MAX_PIPELINED = 16
WRITE_HIGH_WATER_BYTES = 128 * 1024
SENDFILE_BYTES = 1024 * 1024
PIECE_BYTES = 128 * 1024
_LISTS = frozenset({"accept-encoding", "connect-accept-encoding"})


class Connection(asyncio.Protocol):
    """Parses with llhttp, starts the handler when a head is complete and hands the body over as it arrives.

    Requests of one connection are answered in order. When the peer leaves, the running handler is cancelled.
    """

    def __init__(self, handler: Handler, tasks: TaskGroup, report: Report, connections: Connections) -> None:
        self._handler = handler
        self._tasks = tasks
        self._report = report
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._receiving: Request | None = None
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._closing = False
        self._lingering = False
        self._writable: asyncio.Future[None] | None = None
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._unaccounted_bytes = 0
        self._peer_finished = False
        self.transport: asyncio.Transport

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self._connections.add(self)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self._start_timer(IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self._closing and self._receiving is None:
            return
        self._unaccounted_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._closing = True  # nothing here is upgraded: answer the request as it is, then close
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")
        if self._unaccounted_bytes > MAX_UNACCOUNTED_BYTES:  # the parser collects a field that never ends
            if self._closing:
                self.abort()
            else:
                self._refuse(b"431 Request Header Fields Too Large")
        self._balance_reading()

    def eof_received(self) -> bool:
        """A peer that finished sending may still read an answer, unless it is a stream, which lives as long as the peer does."""
        self._peer_finished = True
        if self._receiving is not None or self._current is None:
            return False
        if self._current.cancel_on_eof and self._task is not None:
            self._task.cancel()
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._connections.discard(self)
        self._stop_timer()
        lost = ConnectionResetError("the client left")
        if self._receiving is not None:
            self._receiving.body.fail(lost)
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(lost)
            self._writable.exception()  # nobody may be waiting any more
        if self._task is not None:
            self._task.cancel()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- llhttp callbacks

    def on_message_begin(self) -> None:
        self._target, self._headers, self._head_bytes = b"", {}, 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape").strip()
        self._count_head(len(name) + len(value))
        if key in self._headers and key in _LISTS:
            self._headers[key] += ", " + text
        else:
            self._headers.setdefault(key, text)
        if len(self._headers) > MAX_HEADERS and not self._closing:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._unaccounted_bytes = 0
        if self._closing:
            return  # nothing after the last request is answered
        expects = self._headers.get("expect", "").lower() == "100-continue"
        asked = [not expects]

        def on_demand() -> None:
            if not asked[0]:
                asked[0] = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            target=self._target.decode("utf-8", "surrogateescape"),
            headers=self._headers,
            http_version=self._parser.get_http_version(),
            keep_alive=self._parser.should_keep_alive(),
            body=RequestBody(on_demand, self._balance_reading),
        )
        self._receiving = request
        self._waiting.append(request)
        if self._current is None:
            self._next()

    def on_body(self, data: bytes) -> None:
        self._unaccounted_bytes = 0
        if self._receiving is not None:
            self._receiving.body.feed(data)

    def on_message_complete(self) -> None:
        self._unaccounted_bytes = 0
        if self._receiving is not None:
            self._receiving.body.finish()
            self._receiving = None
            if self._lingering:
                self.transport.close()

    # -- answering

    def write(self, data: bytes) -> None:
        """Queue `data` for the peer; lost when it has left, which `drain` reports."""
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough; `ConnectionResetError` when it left."""
        if self.transport.is_closing():
            raise ConnectionResetError("the client left")
        if self._writable is not None:
            await self._writable

    async def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """Send a part of a file without bringing it into this process; returns how much there was.

        The kernel copies while the peer keeps up. When its buffer is full, one piece goes through the transport, whose flow control
        says when to try again.
        """
        target: int = self.transport.get_extra_info("socket").fileno()
        sent = 0
        while sent < length:
            await self._flushed()
            try:
                count = os.sendfile(target, descriptor, offset + sent, min(length - sent, SENDFILE_BYTES))
            except BlockingIOError:
                piece = os.pread(descriptor, min(length - sent, PIECE_BYTES), offset + sent)
                self.transport.write(piece)
                count = len(piece)
            if count == 0:
                break
            sent += count
            await asyncio.sleep(0)
        return sent

    async def _flushed(self) -> None:
        """Wait until everything written has reached the kernel."""
        await self.drain()
        self.transport.set_write_buffer_limits(high=0)
        try:
            while self.transport.get_write_buffer_size():
                await self.drain()
                await asyncio.sleep(0)
            await self.drain()
        finally:
            if not self.transport.is_closing():  # a closed one takes no settings
                self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def abort(self) -> None:
        """Cut the connection so that the peer cannot mistake it for an end."""
        self._closing = True
        self.transport.abort()

    def _next(self) -> None:
        self._stop_timer()
        if self._closing or (self._peer_finished and not self._waiting):
            self.transport.close()
        elif self._waiting:
            self._connections.set_idle(self, False)
            request = self._current = self._waiting.popleft()
            self._task = self._tasks.start(request.path, self._answer(request))
        else:
            self._connections.set_idle(self, True)
            self._start_timer(IDLE_SECONDS)
        self._balance_reading()

    async def _answer(self, request: Request) -> None:
        response = Response(self, request)
        try:
            await self._handler(request, response)
        except ConnectionError:
            self.abort()
        except Exception as error:  # noqa: BLE001  # request boundary
            self._report(request.path, error)
            if response.started:
                self.abort()
            else:
                response.keep_alive = False
                await response.send_error(500, "internal error")
        finally:
            self._current = self._task = None
        if not response.finished:
            self.abort()
            return
        request.body.discard()
        self._closing = self._closing or not response.keep_alive
        if request.body.complete:
            self._next()
        else:  # an early answer: read and drop for a moment, or the client gets a reset instead of the answer
            self._lingering = True
            self._start_timer(LINGER_SECONDS)

    def _refuse(self, status: bytes) -> None:
        self._closing = True
        if self._current is None:
            self.write(
                b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()
        elif self._receiving is not None:
            self._receiving.body.fail(ConnectionAbortedError("the request's framing is broken"))

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES and not self._closing:
            self._refuse(b"431 Request Header Fields Too Large")

    def _balance_reading(self) -> None:
        if self.transport.is_closing():
            return
        buffered = self._receiving.body.buffered_bytes if self._receiving is not None else 0
        if self._reading and (buffered > HIGH_WATER_BYTES or len(self._waiting) > MAX_PIPELINED):
            self._reading = False
            self.transport.pause_reading()
        elif not self._reading and buffered <= LOW_WATER_BYTES and len(self._waiting) <= MAX_PIPELINED:
            self._reading = True
            self.transport.resume_reading()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
