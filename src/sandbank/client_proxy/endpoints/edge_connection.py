"""One HTTP/1.1 connection of an operator: every wait has an end, every size a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sandbank.client_proxy.endpoints.edge_message import Answer, Request, problem
from sandbank.proxy.body import Body, BodyError, ChunkedBody, LengthBody
from sandbank.proxy.head import HeadError, RequestHead, parse_request_head

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
HEAD_SECONDS = 10.0  # from a head's first byte to its last
BODY_SECONDS = 10.0
IDLE_SECONDS = 60.0  # between requests
WRITE_SECONDS = 10.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 256 * 1024

_READ_BYTES = 16 * 1024

Respond = Callable[[Request], Awaitable[Answer]]


class _RefusedError(Exception):
    """The request cannot be read to its end; `answer` is the last one."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class EdgeConnection:
    """Answers requests one after the other. `idle` between them; `stopping` makes the next answer the last."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond, first: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self._respond = respond
        self._buffer = first
        self.idle = False
        self.stopping = False

    async def serve(self) -> None:
        """Until either side ends it, or the client is too slow. The caller closes the connection."""
        try:
            while (head := await self._read_head()) is not None:
                body = await self._read_body(head)
                path, _, query = head.target.decode("latin-1").partition("?")
                answer = await self._respond(Request(head.method.decode(), path, head.fields, body, query))
                last = self.stopping or not head.keep_alive or head.minor == 0
                await self._write(answer.encode(close=last, head_only=head.method == b"HEAD"))
                if last:
                    break
        except _RefusedError as refusal:
            await self._write(refusal.answer.encode(close=True))
        except (TimeoutError, EOFError):
            return
        await self._linger()

    async def _read_head(self) -> RequestHead | None:
        if not self._buffer:
            self.idle = True
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._fill()
            except EOFError:
                return None
            finally:
                self.idle = False
        async with asyncio.timeout(HEAD_SECONDS):
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    break
                await self._fill()
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise _RefusedError(problem(431, "the request's head is too long"))
        block, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        try:
            return parse_request_head(block)
        except HeadError as error:
            raise _RefusedError(problem(error.status, str(error))) from error

    async def _read_body(self, head: RequestHead) -> bytes:
        if head.content_length > MAX_BODY_BYTES:
            raise _RefusedError(problem(413, f"request body is larger than {MAX_BODY_BYTES} bytes"))
        body: Body = ChunkedBody() if head.chunked else LengthBody(head.content_length)
        if not body.done and head.fields.get(b"expect", b"").lower() == b"100-continue":
            await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not body.done:
                    if not self._buffer:
                        await self._fill()
                    taken: list[bytes] = []
                    self._buffer = self._buffer[body.scan(self._buffer, 0, taken) :]
                    pieces += taken
                    size += sum(map(len, taken))
                    if size > MAX_BODY_BYTES:
                        raise _RefusedError(problem(413, f"request body is larger than {MAX_BODY_BYTES} bytes"))
        except BodyError as error:
            raise _RefusedError(problem(400, str(error))) from error
        except TimeoutError as error:
            raise _RefusedError(problem(408, "the request body took too long to arrive")) from error
        return b"".join(pieces)

    async def _fill(self) -> None:
        data = await self._reader.read(_READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(WRITE_SECONDS):
            await self._writer.drain()

    async def _linger(self) -> None:
        """Let the client take the answer: closing with bytes unread would reset the connection."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        room = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while room > 0 and (data := await self._reader.read(_READ_BYTES)):
                    room -= len(data)
        except TimeoutError:
            return
