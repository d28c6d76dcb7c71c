"""One HTTP/1 connection between two streams: every request rewritten, everything else as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from sandbank.aiokit.pace import Pace
from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.network.egress.requests import AmbiguousRequestError, Head, RequestReader
from sandbank.runtime.network.interception.rewriting import RefusedError
from sandbank.runtime.network.interception.streams import Stream

_CHUNK = 64 * 1024
# Of requests, which are looked through: what it costs to take so much at once holds up everybody.
_REQUESTS_CHUNK = 8 * 1024
_HEAD_UNITS = 10
_SWITCHED = b"HTTP/1.1 101"

Rewrite = Callable[[Head], Awaitable[bytes]]
Open = Callable[[], Awaitable[Stream]]


class Relay:
    """Carries one connection; `pace` counts what its requests cost, in pieces.

    The upstream is opened for the first request, so that whatever fails before can be said in HTTP.
    """

    def __init__(self, client: Stream, open_upstream: Open, rewrite: Rewrite, pace: Pace, idle_seconds: float) -> None:
        self._client = client
        self._open_upstream = open_upstream
        self._rewrite = rewrite
        self._pace = pace
        self._idle_seconds = idle_seconds
        self._requests = RequestReader()
        self._deadline = asyncio.timeout(idle_seconds)

    async def run(self) -> None:
        """Until both sides are done. `OSError`, `TimeoutError`, `AmbiguousRequestError`: the connection is to be reset.

        Closes the upstream, not the client.
        """
        async with self._deadline:
            try:
                head, out = await self._first()
                upstream = await self._connected()
            except RefusedError as error:
                await self._client.send(_answer(error))
                await self._client.finish()
                return
            if head is None:
                return
            try:
                await self._carry(head, out, upstream)
                await self._client.finish()
            finally:
                upstream.abort()

    async def _first(self) -> tuple[Head | None, bytes]:
        """None when the client has closed without a request."""
        pieces: list[Head | bytes] = []
        while not pieces:
            data = await self._client.receive(_REQUESTS_CHUNK)
            if not data:
                return None, b""
            try:
                pieces = self._requests.feed(data)
            except AmbiguousRequestError as error:
                raise RefusedError(400, f"the request cannot be read in one way only: {error}") from error
        head = pieces[0]
        assert isinstance(head, Head)
        if head.upgrade is not None and (self._requests.is_amid or len(pieces) > 1):
            raise RefusedError(400, "more came before the answer to an upgrade")
        return head, await self._rewritten(pieces)

    async def _connected(self) -> Stream:
        try:
            return await self._open_upstream()
        except OSError as error:
            raise RefusedError(502, f"the server cannot be reached: {_reason(error)}") from error

    async def _rewritten(self, pieces: list[Head | bytes]) -> bytes:
        units = sum(_HEAD_UNITS if isinstance(piece, Head) else 1 for piece in pieces)
        await asyncio.sleep(self._pace.delay(units, asyncio.get_running_loop().time()))
        return b"".join([await self._rewrite(piece) if isinstance(piece, Head) else piece for piece in pieces])

    async def _carry(self, head: Head, out: bytes, upstream: Stream) -> None:
        await upstream.send(out)
        switched = head.upgrade is not None and await self._switched(head, upstream)
        tasks = TaskGroup("relay", lambda _name, _error: None)
        try:
            forth = self._copy(self._client, upstream) if switched else self._pass_requests(upstream)
            requests = tasks.start("requests", forth)
            answers = tasks.start("answers", self._copy(upstream, self._client))
            done, _ = await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
            # A server that has said all is not asked any more. A client may stop asking and wait for its answer, unless it has closed TLS.
            if answers not in done and self._client.can_end:
                await answers
        finally:
            await tasks.close()

    async def _switched(self, head: Head, upstream: Stream) -> bool:
        """Whether both sides speak another protocol now; what was read of the answer has been passed on."""
        start = b""
        while len(start) < len(_SWITCHED) and _SWITCHED.startswith(start):
            data = await upstream.receive(_CHUNK)
            if not data:
                break
            start += data
        if start.startswith(_SWITCHED) and head.upgrade != b"websocket":
            raise OSError("a protocol that names cannot be seen in")
        await self._client.send(start)
        return start.startswith(_SWITCHED)

    async def _pass_requests(self, upstream: Stream) -> None:
        while data := await self._client.receive(_REQUESTS_CHUNK):
            self._moved()
            pieces = self._requests.feed(data)
            if any(isinstance(piece, Head) and piece.upgrade is not None for piece in pieces):
                raise OSError("an upgrade is for the first request")
            try:
                out = await self._rewritten(pieces)
            except RefusedError as error:
                # An answer of ours could land amid the server's.
                raise OSError(error.reason) from error
            if out:
                await upstream.send(out)
        upstream.end()

    async def _copy(self, source: Stream, target: Stream) -> None:
        while data := await source.receive(_CHUNK):
            self._moved()
            await target.send(data)
        target.end()

    def _moved(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)


def _reason(error: OSError) -> str:
    # `verify_message` is OpenSSL's own word for a certificate that it does not accept.
    return str(getattr(error, "verify_message", "") or error.strerror or error)


def _answer(error: RefusedError) -> bytes:
    body = f"sandbank: {error.reason}\n".encode()
    phrase = HTTPStatus(error.status).phrase
    head = (
        f"HTTP/1.1 {error.status} {phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
