"""A node's proxy, an API's internal gRPC, and a client proxy between them; on the event loop that the product uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from sandbank.contracts.proxy import SandboxResumeRequest, SandboxResumeResponse
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from sandbank.rpc.resume import add_resume_service
from sandbank.rpc.server import RpcServer
from tests.integration.proxy.wire import route_to


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """See `tests.integration.proxy.conftest`."""
    return {"uvloop": uvloop.new_event_loop}


class Api:
    """`proxy.SandboxService` as a test wants it: `outcome` is an address or an error, given once `gate` is open."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.cancelled = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.outcome: str | Exception = "127.0.0.1"
        self.address = ""
        self._server = RpcServer(lambda method, error: None)
        add_resume_service(self._server, self)

    async def start(self) -> None:
        self.address = f"127.0.0.1:{await self._server.start('127.0.0.1:0')}"

    async def stop(self) -> None:
        await self._server.stop(0)

    async def resume(self, request: SandboxResumeRequest, metadata: Mapping[str, str]) -> SandboxResumeResponse:
        self.asked.append((request.sandbox_id, {key: value for key, value in metadata.items() if key.startswith("e2b-")}))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return SandboxResumeResponse(orchestrator_ip=self.outcome)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
def routes() -> RouteTable:
    table = RouteTable()
    table.add(route_to())
    return table


@pytest.fixture
async def node(routes: RouteTable) -> AsyncIterator[ProxyServer]:
    server = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await server.start()
    yield server
    await server.stop()
