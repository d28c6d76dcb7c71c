"""A client proxy whose edge API is asked over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
from pydantic import SecretStr

from sandbank.clickhouse.client import ClickHouse
from sandbank.client_proxy.endpoints.edge_server import EdgeServer
from sandbank.client_proxy.endpoints.service import ClientProxyService
from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.state.catalog import MemoryCatalog

SECRET = "--edge-secret--"


class Edge:
    """The running service, its catalog and a client that has the key."""

    def __init__(self, service: ClientProxyService, catalog: MemoryCatalog, client: httpx.AsyncClient, server: EdgeServer) -> None:
        self.service = service
        self.catalog = catalog
        self.client = client
        self.server = server

    @property
    def port(self) -> int:
        return self.server.port

    async def see(self, count: int) -> None:
        """Wait until that many nodes are listed."""

        async def seen() -> bool:
            return len((await self.client.get("/v1/service-discovery/nodes")).json()) == count

        await eventually(seen)


@asynccontextmanager
async def edge(nodes: Sequence[str] = (), secret: str = SECRET, clickhouse: ClickHouse | None = None) -> AsyncIterator[Edge]:
    """A proxy of its own over these nodes."""
    catalog = MemoryCatalog()
    settings = ClientProxySettings(client_proxy_port=0, health_port=None, edge_port=0, drain_seconds=0.5, nodes=tuple(nodes)).model_copy(
        update={"edge_secret": SecretStr(secret)}
    )
    service = build(settings, routes=None, catalog=catalog, clickhouse=clickhouse)
    await service.start()
    server = next(item for item in service._others if isinstance(item, EdgeServer))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers={"X-API-Key": secret}) as client:
        try:
            yield Edge(service, catalog, client, server)
        finally:
            await service.stop()


async def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what the product promises; the bound only turns a hang into a failure."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.02)
