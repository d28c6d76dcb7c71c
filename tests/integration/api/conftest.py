"""The API, live on loopback, over a node that speaks gRPC and a fresh SQLite file."""

from __future__ import annotations

import random
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from sandbank.api.background.service import ApiService
from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build, database_url
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_local_development
from sandbank.domain.development import API_KEY
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.grpc_builder import GrpcBuilder
from tests.integration.api.grpc_node import GrpcNode

PORTS = range(23000, 23100)


def free_port() -> int:
    """A port of this package's own range."""
    # In no order: others may be looking for one at this very moment.
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port in {PORTS}")


@dataclass
class LiveApi:
    """A running API and what it runs on."""

    settings: ApiSettings
    service: ApiService
    node: GrpcNode
    builder: GrpcBuilder
    catalog: MemoryCatalog
    client: httpx.AsyncClient
    build_id: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    async def restart(self) -> None:
        """A new service over the same database and node, with empty memory."""
        await self.service.stop()
        self.catalog = MemoryCatalog()
        self.service = build(self.settings, catalog=self.catalog)
        await self.service.start()


async def seed(database: Database) -> str:
    """Schema, the seeded owner, a base template; the build's ID."""
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    build_id = str(uuid.uuid4())
    await register_base_template(database.sessions, build_id, 2, 1024, 10240, "0.6.13")
    return build_id


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[GrpcNode]:
    node = GrpcNode(volumes=tmp_path / "volumes")
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def builder() -> AsyncIterator[GrpcBuilder]:
    builder = GrpcBuilder()
    await builder.start()
    yield builder
    await builder.stop()


@pytest.fixture
async def api(tmp_path: Path, node: GrpcNode, builder: GrpcBuilder) -> AsyncIterator[LiveApi]:
    settings = ApiSettings(
        data_dir=tmp_path,
        api_port=free_port(),
        internal_grpc_port=None,
        nodes=(node.address,),
        template_manager_port=builder.port,
        admin_token=SecretStr("operator"),
        allow_seeded_credentials=True,
    )
    database = Database(database_url(settings))
    build_id = await seed(database)
    await database.close()
    catalog = MemoryCatalog()
    service = build(settings, catalog=catalog)
    await service.start()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{settings.api_port}", headers={"X-API-Key": API_KEY}, trust_env=False
    ) as client:
        live = LiveApi(settings, service, node, builder, catalog, client, build_id)
        yield live
    await live.service.stop()
