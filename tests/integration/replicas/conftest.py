"""Two API processes on one PostgreSQL, one Redis and one node."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sandbank.api.adapters.secret_keys import new_key
from sandbank.db.database import Database
from sandbank.domain.development import API_KEY
from tests.integration.api.conftest import seed
from tests.integration.api.grpc_node import GrpcNode
from tests.product.instance import SERVICE_VARIABLES
from tests.product.postgres import PostgresServer, postgres_server
from tests.product.redis import RedisServer

__all__ = ["postgres_server"]

FIRST_PORT = 23500


@dataclass
class Replica:
    """One `sandbank api` process."""

    port: int
    environment: dict[str, str]
    log: Path
    client: httpx.AsyncClient
    process: subprocess.Popen[bytes] | None = field(default=None)

    async def start(self) -> None:
        """Return when it answers."""
        with self.log.open("ab") as log:
            program = Path(sys.executable).with_name("sandbank")
            self.process = subprocess.Popen([str(program), "api"], env=self.environment, stdout=log, stderr=log)
        async with asyncio.timeout(60):
            while True:
                assert self.process.poll() is None, self.log.read_text()
                try:
                    if (await self.client.get("/health")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """As a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an engine does."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None


@dataclass
class Deployment:
    """All of it."""

    replicas: list[Replica]
    node: GrpcNode
    redis: RedisServer
    database_url: str


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def deployment(tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer) -> AsyncIterator[Deployment]:
    url = await postgres_server.create_database()
    database = Database(url)
    await seed(database)
    await database.close()
    async with AsyncExitStack() as stack:
        node = GrpcNode()
        await node.start()
        stack.push_async_callback(node.stop)
        replicas, secrets_key = [], new_key()
        for number in range(2):
            port = FIRST_PORT + number
            environment = {name: value for name, value in os.environ.items() if not name.startswith(SERVICE_VARIABLES)}
            environment |= {
                "SANDBANK_API_PORT": str(port),
                "SANDBANK_DATA_DIR": str(tmp_path / f"data{number}"),
                "SANDBANK_NODES": node.address,
                "SANDBANK_INTERNAL_GRPC_PORT": "0",
                "POSTGRES_CONNECTION_STRING": url,
                "REDIS_URL": redis_server.url,
                "ADMIN_TOKEN": "operator",
                "SANDBANK_SECRETS_KEY": secrets_key,
                "SANDBANK_INTERNAL_SOCKET": str(tmp_path / f"api{number}.sock"),
                "CLICKHOUSE_CONNECTION_STRING": "",
                "SANDBANK_DEFAULT_TEMPLATES": "false",  # the node runs sandboxes in name only
            }
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": API_KEY}, trust_env=False, timeout=30)
            await stack.enter_async_context(client)
            (tmp_path / f"data{number}").mkdir()
            replica = Replica(port, environment, tmp_path / f"log{number}", client)
            stack.callback(replica.kill)
            replicas.append(replica)
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield Deployment(replicas, node, redis_server, url)
