"""An orchestrator as the edge API sees one, with methods besides that show what is passed through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoRole, ServiceInfoStatus, ServiceStatusChangeRequest
from sandbank.domain.errors import SandbankError
from sandbank.rpc.orchestrator import add_info_service
from sandbank.rpc.server import RpcServer


class EdgeNode:
    """`InfoService` at `address`, and at `echo_address` a server that has methods of every kind."""

    def __init__(self, number: int = 1) -> None:
        self.node_id = f"node-{number}"
        self.service_id = f"instance-{number}"
        self.status = ServiceInfoStatus.Healthy
        self.refusal: SandbankError | None = None
        self.started_at = datetime(2026, 1, number, tzinfo=UTC)
        self.address = ""
        self._server: RpcServer | None = None

    async def start(self, port: int = 0) -> None:
        server = RpcServer(lambda method, error: None)
        add_info_service(server, self)
        self.address = f"127.0.0.1:{await server.start(f'127.0.0.1:{port}')}"
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)

    async def info(self, request: Empty) -> ServiceInfoResponse:
        answer = ServiceInfoResponse(
            node_id=self.node_id,
            service_id=self.service_id,
            service_version="1",
            service_commit="c",
            service_status=self.status,
            service_roles=[ServiceInfoRole.Orchestrator, ServiceInfoRole.TemplateBuilder],
        )
        answer.service_startup.FromDatetime(self.started_at)
        return answer

    async def override_status(self, request: ServiceStatusChangeRequest) -> Empty:
        if self.refusal is not None:
            raise self.refusal
        self.status = request.service_status
        return Empty()


class EchoNode(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Any method, of bytes: what it does depends on the method's name. It says what the edge asks every node for, too."""

    def __init__(self) -> None:
        self.address = ""
        self.metadata: dict[str, Any] = {}
        self.time_remaining: float | None = None
        self.cancelled = asyncio.Event()
        self.taken = 0
        self.gate = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        server = self._server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """See `grpc.GenericRpcHandler`."""
        name = handler_call_details.method.rpartition("/")[2]

        async def answer(requests: AsyncIterator[bytes], context: Any) -> None:
            if name != "ServiceInfo":  # which the edge asks for by itself
                self.metadata = dict(context.invocation_metadata())
                self.time_remaining = context.time_remaining()
            await getattr(self, f"_{name.lower()}")(requests, context)

        return grpc.stream_stream_rpc_method_handler(answer)

    async def _serviceinfo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await context.write(ServiceInfoResponse(node_id="echo", service_id="echo").SerializeToString())

    async def _echo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await context.send_initial_metadata((("begun", "yes"),))
        async for request in requests:
            await context.write(request)
        context.set_trailing_metadata((("ended", "yes"), ("ended-bin", b"\0\1")))

    async def _count(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for _ in requests:
            self.taken += 1
        await context.write(str(self.taken).encode())

    async def _hoard(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await self.gate.wait()
        await self._count(requests, context)

    async def _fail(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await context.abort(grpc.StatusCode.DATA_LOSS, "Grüße: 100 %", (("detail-bin", b"\0\xff"),))

    async def _hang(self, requests: AsyncIterator[bytes], context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def _large(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            await context.write(bytes(int(request)))
