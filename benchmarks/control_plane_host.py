"""What `benchmarks.control_plane` measures: an API and a node that runs sandboxes in name only, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build, database_url
from sandbank.contracts.orchestrator import RunningSandbox, SandboxConfig
from sandbank.db.database import Database
from sandbank.domain.development import TEAM_ID
from sandbank.servicekit.supervisor import Supervisor
from tests.integration.api.conftest import seed
from tests.integration.api.grpc_node import GrpcNode


def _say_ready() -> None:
    """Nobody reads what is said afterwards, and a full pipe would stop who says it."""
    os.write(1, b"ready\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


async def serve_node(port: int, sandboxes: int) -> None:
    """A node with that many sandboxes of one team, started a millisecond after another."""
    node = GrpcNode()
    begun = datetime.now(UTC) - timedelta(minutes=10)
    for number in range(sandboxes):
        sandbox_id = f"i{number:020d}"
        config = SandboxConfig(
            sandbox_id=sandbox_id,
            template_id="t" * 20,
            build_id="00000000-0000-4000-8000-000000000000",
            team_id=TEAM_ID,
            execution_id=f"00000000-0000-4000-8000-{number:012d}",
            vcpu=2,
            ram_mb=1024,
            total_disk_size_mb=10240,
            envd_version="0.6.13",
            max_sandbox_length=24,
            metadata={"user": f"u{number % 100}", "purpose": "benchmark"},
            envd_access_token="0" * 64,
        )
        running = RunningSandbox(
            config=config, sandbox_id=sandbox_id, team_id=TEAM_ID, execution_id=config.execution_id, client_id="node-1", vcpu=2, ram_mb=1024
        )
        running.start_time.FromDatetime(begun + timedelta(milliseconds=number))
        running.end_time.FromDatetime(begun + timedelta(hours=20))
        node.sandboxes[sandbox_id] = running
    await node.start(port)
    _say_ready()
    await asyncio.Event().wait()


async def serve_api(data_dir: Path, port: int, node_port: int) -> None:
    """The API over a fresh SQLite file."""
    settings = ApiSettings(data_dir=data_dir, api_port=port, internal_grpc_port=None, nodes=(f"127.0.0.1:{node_port}",))
    database = Database(database_url(settings))
    await seed(database)
    await database.close()
    service = build(settings)
    _say_ready()
    await Supervisor([service]).run()


def main() -> None:
    """`node PORT COUNT` or `api DIRECTORY PORT NODE-PORT`."""
    match sys.argv[1:]:
        case ["node", port, count]:
            uvloop.run(serve_node(int(port), int(count)))
        case ["api", directory, port, node_port]:
            uvloop.run(serve_api(Path(directory), int(port), int(node_port)))


if __name__ == "__main__":
    main()
