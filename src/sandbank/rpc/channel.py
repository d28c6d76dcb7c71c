"""How our gRPC clients and servers talk: keepalive, message sizes, reconnecting, no proxies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from sandbank.rpc import environment  # noqa: F401  # before the library is loaded

# isort: split
import grpc
import grpc.aio
from google.protobuf.message import Message

from sandbank.rpc.status import error_of
from sandbank.telemetry.tracing import outgoing

ResponseT = TypeVar("ResponseT", bound=Message)

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a list of thousands of sandboxes with metadata outgrows gRPC's 4 MiB

CLIENT_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),  # services talk to each other, whatever http_proxy says to programs on this machine
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # also the time a connection attempt may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
]


class Channel:
    """A lazily opened connection to one peer; `peer` is what errors call it."""

    def __init__(self, address: str, peer: str) -> None:
        self._address = address
        self._peer = f"{peer} {address}"
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}

    async def call(
        self,
        method: str,
        request: Message,
        response: type[ResponseT],
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> ResponseT:
        """One unary call with a deadline. Raises domain errors only; cancelling it cancels the call at the peer."""
        call = self._calls.get(method)
        if call is None:
            call = self._open().unary_unary(
                method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
            )
            self._calls[method] = call
        try:
            result: ResponseT = await call(request, timeout=timeout_seconds, metadata=(*metadata, *outgoing().items()))
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._peer) from failure
        return result

    async def download(self, method: str, request: Message, response: type[ResponseT], timeout_seconds: float) -> AsyncIterator[ResponseT]:
        """One request, a stream of answers. Raises domain errors only; closing the iterator cancels the call."""
        call: Any = self._open().unary_stream(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )(request, timeout=timeout_seconds, metadata=(*outgoing().items(),))
        try:
            async for part in call:
                yield part
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._peer) from failure
        finally:
            call.cancel()

    async def upload(
        self, method: str, requests: AsyncIterator[Message], kind: type[Message], response: type[ResponseT], timeout_seconds: float
    ) -> ResponseT:
        """A stream of requests, one answer. Raises domain errors, or what `requests` does; cancelling it cancels the call at the peer."""
        start: Any = self._open().stream_unary(method, request_serializer=kind.SerializeToString, response_deserializer=response.FromString)
        call = start(timeout=timeout_seconds, metadata=(*outgoing().items(),))
        try:
            async for request in requests:
                await call.write(request)
            await call.done_writing()
            result: ResponseT = await call
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._peer) from failure
        except asyncio.InvalidStateError:
            # The peer answered before all was written: its answer says why.
            try:
                result = await call
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, self._peer) from failure
        finally:
            call.cancel()
        return result

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            # Opened here and not in the constructor: gRPC binds a channel to the loop that is running.
            self._channel = grpc.aio.insecure_channel(self._address, options=CLIENT_OPTIONS)
        return self._channel

    async def close(self) -> None:
        """Break off what is in flight and let go of the connection. Idempotent."""
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close(None)
