"""RPCs as HTTP handlers: unary, server-streaming, client-streaming."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from google.protobuf.message import Message

from sandbank.domain.errors import DeadlineError, InternalError, InvalidError, SandbankError
from sandbank.envd.connect.calls import STALLED_SECONDS, Call, MessageStream, deadline_of
from sandbank.envd.connect.codec import CODECS, Codec
from sandbank.envd.connect.envelope import MAX_MESSAGE_BYTES, payloads
from sandbank.envd.connect.errors import HTTP_STATUS, code_of, describe
from sandbank.envd.connect.received import RECEIVED, Share
from sandbank.envd.journal import report
from sandbank.envd.transport.body import gunzip
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

UNARY_TYPES = {f"application/{name}": codec for name, codec in CODECS.items()}
STREAM_TYPES = {f"application/connect+{name}": codec for name, codec in CODECS.items()}
_COMPRESSIONS = frozenset({"", "identity", "gzip"})


async def refuse(request: Request, response: Response, error: SandbankError) -> None:
    """Tell a caller of any kind: framed for streams, as a body for everything else."""
    if (codec := STREAM_TYPES.get(request.content_type)) is not None:
        await MessageStream(response, codec).end(error)
    else:
        await response.send_json(HTTP_STATUS[code_of(error)], describe(error))


async def _wrong_media_type(response: Response, supported: dict[str, Codec]) -> None:
    await response.send(415, {"Accept-Post": ", ".join(sorted(supported))})


def _compression(request: Request, header: str) -> str:
    name = request.headers.get(header, "").lower()
    if name not in _COMPRESSIONS:
        raise InvalidError(f'unknown compression "{name}": supported encodings are gzip, identity', error_code="unimplemented")
    return name


def _translated(path: str, error: Exception) -> SandbankError:
    """What the caller may know of an error that nobody expected."""
    if isinstance(error, SandbankError):
        return error.with_traceback(None)  # whose frames hold the message, and would until the next collection
    if isinstance(error, OSError):
        return InternalError(str(error))
    report(path, error)
    return InternalError("internal error")


class Unary(Generic[Q, A]):
    """One message in, one out."""

    def __init__(self, kind: type[Q], handler: Callable[[Call, Q], Awaitable[A]]) -> None:
        self._kind = kind
        self._handler = handler

    async def __call__(self, request: Request, response: Response) -> None:
        """Answer `request`; errors become a status and a JSON body."""
        codec = UNARY_TYPES.get(request.content_type)
        if codec is None:
            await _wrong_media_type(response, UNARY_TYPES)
            return
        try:
            call = Call(request, deadline_of(request))
            with RECEIVED.share() as share:
                async with asyncio.timeout_at(call.deadline):
                    answer = await self._handler(call, await self._receive(request, codec, share))
        except TimeoutError:
            await refuse(request, response, DeadlineError("context deadline exceeded"))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # request boundary
            await refuse(request, response, _translated(request.path, error))
        else:
            await response.send(200, {"Content-Type": f"application/{codec.name}"}, codec.encode(answer))

    async def _receive(self, request: Request, codec: Codec, share: Share) -> Q:
        compression = _compression(request, "content-encoding")
        data = await request.body.read_all(MAX_MESSAGE_BYTES, share.hold)
        if compression == "gzip":
            held = len(data)
            data = gunzip(data, MAX_MESSAGE_BYTES, lambda size: share.hold(held + size))
        return codec.decode(data, self._kind)


class _Stream(ABC):
    """What both kinds of streams share: media type, deadline, and outcomes that travel in the last envelope."""

    async def __call__(self, request: Request, response: Response) -> None:
        """Answer `request`; the HTTP status is 200 whatever happens."""
        codec = STREAM_TYPES.get(request.content_type)
        if codec is None:
            await _wrong_media_type(response, STREAM_TYPES)
            return
        stream = MessageStream(response, codec)
        outcome: SandbankError | None = None
        try:
            call = Call(request, deadline_of(request))
            compression = _compression(request, "connect-content-encoding")
            async with asyncio.timeout_at(call.deadline), aclosing(payloads(request.body.chunks(), compression)) as incoming:
                await self._exchange(call, codec, incoming, stream)
        except TimeoutError:
            await self._end_late(stream)
            return
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # request boundary
            outcome = _translated(request.path, error)
        await stream.end(outcome)

    @staticmethod
    async def _end_late(stream: MessageStream) -> None:
        """A peer that does not even read this keeps the connection no longer."""
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await stream.end(DeadlineError("context deadline exceeded"))
        except TimeoutError as error:
            raise ConnectionAbortedError("the client reads nothing") from error

    @abstractmethod
    async def _exchange(self, call: Call, codec: Codec, incoming: AsyncIterator[bytes], stream: MessageStream) -> None:
        """Read what comes and answer it."""


class ServerStream(_Stream, Generic[Q]):
    """One message in, many out; cancelled when the peer leaves."""

    def __init__(self, kind: type[Q], handler: Callable[[Call, Q, MessageStream], Awaitable[None]]) -> None:
        self._kind = kind
        self._handler = handler

    async def _exchange(self, call: Call, codec: Codec, incoming: AsyncIterator[bytes], stream: MessageStream) -> None:
        received: Q | None = None
        async for payload in incoming:
            if received is not None:
                raise InvalidError("protocol error: expected one request message, got more", error_code="unimplemented")
            received = codec.decode(payload, self._kind)
        if received is None:
            raise InvalidError("protocol error: expected one request message, got none", error_code="unimplemented")
        call.request.cancel_on_eof = True
        await self._handler(call, received, stream)


class ClientStream(_Stream, Generic[Q, A]):
    """Many messages in, one out. The handler may return or raise before the input has ended."""

    def __init__(self, kind: type[Q], handler: Callable[[Call, AsyncIterator[Q]], Awaitable[A]]) -> None:
        self._kind = kind
        self._handler = handler

    async def _exchange(self, call: Call, codec: Codec, incoming: AsyncIterator[bytes], stream: MessageStream) -> None:
        async def messages() -> AsyncGenerator[Q, None]:
            async for payload in incoming:
                yield codec.decode(payload, self._kind)

        async with aclosing(messages()) as requests:
            answer = await self._handler(call, requests)
        await stream.send(answer)
