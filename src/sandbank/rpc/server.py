"""A gRPC server that speaks our errors, registered without generated stubs because E2B's services have no proto package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

from sandbank.rpc import environment  # noqa: F401  # before the library is loaded

# isort: split
import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import _async as health_async
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sandbank.domain.errors import InternalError, SandbankError, UnavailableError
from sandbank.rpc.channel import CLIENT_OPTIONS
from sandbank.rpc.status import status_of, trailers_of
from sandbank.telemetry.tracing import Span, Tracer

_OPTIONS: list[tuple[str, Any]] = [
    # Contract data-plane §9: ping every 15 s, 5 s for the answer, clients may ping every 5 s and without a call.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not a second worker
    *(option for option in CLIENT_OPTIONS if option[0].startswith("grpc.max_")),
]


@dataclass(frozen=True, slots=True)
class Method:
    """One unary method: its request's class and the coroutine function that answers it, given the call's metadata where it wants that."""

    request: type[Message]
    answer: Callable[..., Awaitable[Message]]
    wants_metadata: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """A method with one request and a stream of answers."""

    request: type[Message]
    answer: Callable[..., AsyncIterator[Message]]


@dataclass(frozen=True, slots=True)
class Upload:
    """A method with a stream of requests and one answer."""

    request: type[Message]
    answer: Callable[[AsyncIterator[Any]], Awaitable[Message]]


class RpcServer:
    """Serves methods and `grpc.health.v1`; `on_fault(method, error)` hears of exceptions that are nobody's answer.

    Calls become spans by `tracer`, in the caller's trace where it has one.
    """

    def __init__(self, on_fault: Callable[[str, BaseException], None], tracer: Tracer | None = None) -> None:
        self._on_fault = on_fault
        self._tracer = tracer
        self._services: dict[str, Mapping[str, Method | Download | Upload]] = {}
        self._server: grpc.aio.Server | None = None
        self._health = health_async.HealthServicer()

    def add(self, service: str, methods: Mapping[str, Method | Download | Upload]) -> None:
        """Answer `/<service>/<method>`; to be called before `start`."""
        self._services[service] = methods

    async def start(self, address: str, *others: str) -> int:
        """Serve at `address` and the others (`host:port` or `unix:path`); the first one's port is returned. `UnavailableError` for any
        that cannot be bound.
        """
        server = grpc.aio.server(options=_OPTIONS)
        for service, methods in self._services.items():
            handlers = {name: self._handler(f"/{service}/{name}", method) for name, method in methods.items()}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        ports = [_bind(server, one) for one in (address, *others)]
        await server.start()
        self._server = server
        await self.set_serving(True)
        return ports[0]

    async def set_serving(self, serving: bool) -> None:
        """What `grpc.health.v1` answers, for the server as a whole and for each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)

    async def wait(self) -> None:
        """Return when the server has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give running ones `grace_seconds`, then cancel them. Idempotent; a later call may shorten the grace."""
        if self._server is not None:
            await self.set_serving(False)
            await self._server.stop(grace_seconds)
            # Let go of while the loop runs: its finaliser schedules a task.
            self._server = None

    def _serving(self, path: str, metadata: Mapping[str, str]) -> AbstractContextManager[Span | None]:
        return nullcontext() if self._tracer is None else self._tracer.serving(path, metadata)

    def _handler(self, path: str, method: Method | Download | Upload) -> grpc.RpcMethodHandler[Any, Any]:
        if isinstance(method, Download):
            return self._download(path, method)
        if isinstance(method, Upload):
            return self._upload(path, method)

        async def answer(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            metadata = _metadata(context)
            with self._serving(path, metadata) as span:
                try:
                    if method.wants_metadata:
                        return await method.answer(request, metadata)
                    return await method.answer(request)
                except SandbankError as error:
                    failure: SandbankError = error
                except Exception as error:  # noqa: BLE001  # request boundary
                    self._on_fault(path, error)
                    failure = InternalError("internal error")
                if span is not None:
                    span.fail(failure.message)
            return await _refuse(context, failure)

        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=method.request.FromString, response_serializer=_serialize)

    def _download(self, path: str, method: Download) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            try:
                async with aclosing(method.answer(request)) as parts:  # type: ignore[type-var]  # all of ours are generators
                    async for part in parts:
                        yield part
            except SandbankError as error:
                await _refuse(context, error)
            except Exception as error:  # noqa: BLE001  # request boundary
                self._on_fault(path, error)
                await _refuse(context, InternalError("internal error"))

        return grpc.unary_stream_rpc_method_handler(answer, request_deserializer=method.request.FromString, response_serializer=_serialize)

    def _upload(self, path: str, method: Upload) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(requests: AsyncIterator[Message], context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            try:
                return await method.answer(requests)
            except SandbankError as error:
                return await _refuse(context, error)
            except Exception as error:  # noqa: BLE001  # request boundary
                self._on_fault(path, error)
                return await _refuse(context, InternalError("internal error"))

        return grpc.stream_unary_rpc_method_handler(answer, request_deserializer=method.request.FromString, response_serializer=_serialize)


def _bind(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise UnavailableError(f"cannot listen on {address}") from error


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    pairs: Any = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: SandbankError) -> NoReturn:
    await context.abort(status_of(error), error.message, trailers_of(error))
    raise AssertionError("abort returned")
