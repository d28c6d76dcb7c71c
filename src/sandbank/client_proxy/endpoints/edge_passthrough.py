"""gRPC to any orchestrator, message by message and unread (contract data-plane §8.3)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import structlog

from sandbank.client_proxy.core.cluster import Cluster, ClusterNode
from sandbank.client_proxy.endpoints.edge_catalog_events import CatalogEvents
from sandbank.domain.errors import (
    DeniedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnauthenticatedError,
    UnavailableError,
)
from sandbank.rpc.channel import CLIENT_OPTIONS
from sandbank.rpc.status import ORIGIN_KEY, status_of, trailers_of

# isort: split
import grpc
import grpc.aio

HEALTH_METHOD = "/EdgePassThrough/healthcheck"
SECRET_KEY = "authorization"  # noqa: S105  # a name
INSTANCE_KEY = "service-instance-id"

_MAX_MESSAGE_BYTES = 5 * 1024 * 1024  # contract data-plane §8.3
_MAX_CALLS = 1000
_MESSAGE_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
]
_SERVER_OPTIONS: list[tuple[str, Any]] = [
    *_MESSAGE_OPTIONS,
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_connection_idle_ms", 620_000),
    ("grpc.server_handshake_timeout_ms", 10_000),  # for the settings that a client has to begin with
]
_CHANNEL_OPTIONS = [option for option in CLIENT_OPTIONS if not option[0].endswith("_message_length")] + _MESSAGE_OPTIONS
# Each hop sends its own.
_OWN_KEYS = frozenset({SECRET_KEY, INSTANCE_KEY, "user-agent", "te", "content-type"})

Metadata = list[tuple[str, str | bytes]]
Context = grpc.aio.ServicerContext[bytes, bytes]


logger = structlog.get_logger(__name__)


class _RelayedError(Exception):
    """The orchestrator answered with an error, or did not."""

    def __init__(self, failure: grpc.aio.AioRpcError) -> None:
        super().__init__(failure.details())
        self.failure = failure


class PassThrough(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Serves every method of every service on a socket that has no name in the file system; `connect` gives a way to it.

    Metadata `authorization` has the secret, `service-instance-id` the orchestrator that is meant.
    """

    def __init__(self, cluster: Cluster, events: CatalogEvents, *, secret: str, is_healthy: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._events = events
        self._secret = secret.encode()
        self._is_healthy = is_healthy
        self._server: grpc.aio.Server | None = None
        self._channels: dict[str, grpc.aio.Channel] = {}
        # In the abstract namespace: it ends with the process however that ends, and sandboxes have network namespaces of their own.
        self._address = f"sandbank-edge-{secrets.token_hex(16)}"

    async def start(self) -> None:
        """Serve."""
        server = grpc.aio.server(options=_SERVER_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS)
        server.add_generic_rpc_handlers((self,))
        try:
            server.add_insecure_port(f"unix-abstract:{self._address}")
        except RuntimeError as error:
            raise UnavailableError("the edge API cannot listen for gRPC") from error
        await server.start()
        self._server = server

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it; `OSError` when it takes no more."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            sock.connect(f"\0{self._address}")  # at once or never, for a socket of this kind
            return await asyncio.open_unix_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give running ones that long, then cancel them. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_seconds)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close(None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """See `grpc.GenericRpcHandler`: unary calls are streams of one message."""
        method = handler_call_details.method

        async def answer(requests: AsyncIterator[bytes], context: Context) -> None:
            try:
                if method == HEALTH_METHOD:
                    await self._say_health(context)
                else:
                    await self._relay(method, requests, context)
            except _RelayedError as relayed:
                await _pass_on(context, relayed.failure)
            except SandbankError as error:
                await _refuse(context, error)
            except grpc.aio.AbortError:
                raise
            except Exception:  # request boundary
                logger.exception("call failed", method=method)
                await _refuse(context, InternalError("internal error"))

        return grpc.stream_stream_rpc_method_handler(answer)

    async def _say_health(self, context: Context) -> None:
        if not self._is_healthy():
            raise UnavailableError("this proxy is not healthy")
        await context.write(b"")

    async def _relay(self, method: str, requests: AsyncIterator[bytes], context: Context) -> None:
        pairs: Any = context.invocation_metadata() or ()
        metadata: dict[str, str | bytes] = dict(pairs)
        self._authenticate(metadata)
        node = self._node_of(metadata)
        passed_on = _pairs(pairs)
        async with self._events.around(metadata, node):
            await self._forward(self._channel(node.address), method, requests, context, passed_on)

    def _authenticate(self, metadata: dict[str, str | bytes]) -> None:
        if not self._secret:
            raise DeniedError("this proxy has no secret and lets nobody through")
        given = metadata.get(SECRET_KEY)
        if given is None:
            raise UnauthenticatedError(f"metadata {SECRET_KEY} is missing")
        if not hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._secret):
            raise UnauthenticatedError("invalid secret")

    def _node_of(self, metadata: dict[str, str | bytes]) -> ClusterNode:
        instance_id = metadata.get(INSTANCE_KEY)
        if not isinstance(instance_id, str) or not instance_id:
            raise InvalidError(f"metadata {INSTANCE_KEY} is missing")
        node = self._cluster.find(instance_id)
        if node is None:
            raise NotFoundError("service instance not found")
        return node

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            self._sweep()
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        return channel

    def _sweep(self) -> None:
        """Forget connections to nodes that are gone; the library closes what nobody refers to."""
        addresses = {node.address for node in self._cluster.nodes()}
        self._channels = {address: channel for address, channel in self._channels.items() if address in addresses}

    async def _forward(
        self, channel: grpc.aio.Channel, method: str, requests: AsyncIterator[bytes], context: Context, metadata: Metadata
    ) -> None:
        call = channel.stream_stream(method, None, None)(requests, timeout=context.time_remaining(), metadata=tuple(metadata))
        try:
            await context.send_initial_metadata(_pairs(await call.initial_metadata()))
            async for message in call:
                await context.write(message)
            context.set_trailing_metadata(_pairs(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as failure:
            raise _RelayedError(failure) from failure
        finally:
            call.cancel()


def _pairs(metadata: Any) -> Metadata:
    return [(key, value) for key, value in metadata or () if key not in _OWN_KEYS and not key.startswith("grpc-")]


async def _pass_on(context: Context, failure: grpc.aio.AioRpcError) -> NoReturn:
    trailers = _pairs(failure.trailing_metadata())
    details = failure.details() or ""
    if failure.code() is grpc.StatusCode.UNAVAILABLE and ORIGIN_KEY not in dict(trailers):
        # The transport's own words name addresses.
        details = "the orchestrator cannot be reached"
    await context.abort(failure.code(), details, tuple(trailers))
    raise AssertionError("abort returned")


async def _refuse(context: Context, error: SandbankError) -> NoReturn:
    await context.abort(status_of(error), error.message, trailers_of(error))
    raise AssertionError("abort returned")
