"""Metrics over REST: shapes, ranges, refusals, teams, and an analytics store that is off or away (REST contract §12)."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b.api.client.models import SandboxMetric

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build, database_url
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.db.database import Database
from sandbank.domain.development import API_KEY
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import free_port, seed
from tests.integration.api.grpc_node import GrpcNode
from tests.integration.api.test_sandboxes import refused

TEAM = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"
KEYS = {"timestamp", "timestampUnix", "cpuCount", "cpuUsedPct", "memUsed", "memTotal", "memCache", "diskUsed", "diskTotal"}
VALUES = {
    "cpu.total": 2.0,
    "cpu.used": 12.3456,
    "ram.used": 1e6,
    "ram.total": 1e9,
    "ram.cache": 5e5,
    "disk.used": 7e6,
    "disk.total": 1e10,
}


@dataclass
class Measured:
    """An API with analytics, and what they are kept in."""

    client: httpx.AsyncClient
    clickhouse: ClickHouse

    async def note(self, sandbox_id: str, ago_seconds: float, team: str = TEAM) -> None:
        at = int((time.time() - ago_seconds) * 1e9)
        columns = ("timestamp", "sandbox_id", "team_id", "metric_name", "value")
        rows = [(at, sandbox_id, team, f"e2b.sandbox.{name}", value) for name, value in VALUES.items()]
        await self.clickhouse.insert("sandbox_metrics_gauge", columns, rows)

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def served(directory: Path, node: GrpcNode, clickhouse: ClickHouse) -> AsyncIterator[Measured]:
    settings = ApiSettings(
        data_dir=directory, api_port=free_port(), internal_grpc_port=None, nodes=(node.address,), allow_seeded_credentials=True
    )
    database = Database(database_url(settings))
    await seed(database)
    await database.close()
    service = build(settings, catalog=MemoryCatalog(), clickhouse=clickhouse)
    await service.start()
    url = f"http://127.0.0.1:{settings.api_port}"
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": API_KEY}, trust_env=False) as client:
        yield Measured(client, clickhouse)
    await service.stop()
    await clickhouse.close()


@pytest.fixture
async def measured(tmp_path: Path, node: GrpcNode) -> AsyncIterator[Measured]:
    clickhouse = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    await Schema(clickhouse).up()
    clickhouse.ready.set()
    async for one in served(tmp_path, node, clickhouse):
        yield one


@pytest.fixture
async def bereft(tmp_path: Path, node: GrpcNode) -> AsyncIterator[Measured]:
    """Its ClickHouse is away."""
    async for one in served(tmp_path, node, ClickHouse.connect("http://user:secret@127.0.0.1:9/analytics")):
        yield one


def fresh() -> str:
    return f"i{uuid.uuid4().hex[:20]}"


async def test_a_sandboxs_points_have_every_field_that_clients_read(measured: Measured) -> None:
    """§12.1, sdk-latest §1.3: all nine, rounded as E2B rounds, oldest first."""
    sandbox_id = fresh()
    await measured.note(sandbox_id, 20)
    await measured.note(sandbox_id, 5)
    points = await measured.get(f"/sandboxes/{sandbox_id}/metrics")
    assert [set(point) for point in points] == [KEYS, KEYS]
    assert points[0]["timestampUnix"] < points[1]["timestampUnix"]
    parsed = SandboxMetric.from_dict(points[0])
    assert (parsed.cpu_count, parsed.cpu_used_pct, parsed.mem_used, parsed.mem_cache) == (2, 12.35, 1_000_000, 500_000)
    assert (parsed.mem_total, parsed.disk_used, parsed.disk_total) == (10**9, 7_000_000, 10**10)
    assert parsed.timestamp == datetime.fromisoformat(points[0]["timestamp"])
    assert {type(points[0][key]) for key in KEYS - {"timestamp", "cpuUsedPct"}} == {int}
    now = int(time.time())
    assert len(await measured.get(f"/sandboxes/{sandbox_id}/metrics?start={now - 10}&end={now + 60}")) == 1
    assert await measured.get(f"/sandboxes/{sandbox_id}/metrics?end={now - 3600}") == []


async def test_ended_and_unknown_sandboxes(measured: Measured) -> None:
    """§12.1: what was measured is there although the sandbox is not; of one that never was there is nothing."""
    gone, foreign = fresh(), fresh()
    await measured.note(gone, 60)
    await measured.note(foreign, 60, str(uuid.uuid4()))
    assert len(await measured.get(f"/sandboxes/{gone}/metrics")) == 1
    assert len(await measured.get(f"/sandboxes/{gone}-6532622b/metrics")) == 1
    assert await measured.get(f"/sandboxes/{foreign}/metrics") == []
    assert await measured.get(f"/sandboxes/{fresh()}/metrics") == []


async def test_ranges_that_cannot_be_are_refused(measured: Measured) -> None:
    """§12.1."""
    now = int(time.time())
    for query in (f"start={now}&end={now - 1}", f"start={now + 3600}", f"start={2**62}", f"start={2**62}&end={2**63 - 1}"):
        refused(await measured.client.get(f"/sandboxes/{fresh()}/metrics?{query}"), 400, "Invalid time range for metrics")
    for query in ("start=-1", "start=x", f"end={2**63}", "end=1.5"):
        refused(await measured.client.get(f"/sandboxes/{fresh()}/metrics?{query}"), 400, "validation error")
    refused(await measured.client.get("/sandboxes/UPPER/metrics"), 400, "Invalid sandbox ID")


async def test_the_latest_points_of_several_sandboxes(measured: Measured) -> None:
    """§12.2."""
    one, two, foreign = fresh(), fresh(), fresh()
    for ago in (30, 10):
        await measured.note(one, ago)
    await measured.note(two, 10)
    await measured.note(foreign, 10, str(uuid.uuid4()))
    answer = await measured.get(f"/sandboxes/metrics?sandbox_ids={one},{two},{foreign},{fresh()}")
    assert set(answer["sandboxes"]) == {one, two}
    assert set(answer["sandboxes"][one]) == KEYS
    assert abs(answer["sandboxes"][one]["timestampUnix"] - (time.time() - 10)) < 5
    listed = await measured.client.get("/sandboxes/metrics", params={"sandbox_ids": f"{one},{two}"})
    assert set(listed.json()["sandboxes"]) == {one, two}, "the comma may be encoded"


async def test_lists_of_sandboxes_that_cannot_be_are_refused(measured: Measured) -> None:
    """§12.2."""
    many = ",".join(fresh() for _ in range(101))
    refused(await measured.client.get(f"/sandboxes/metrics?sandbox_ids={many}"), 400, "Too many sandboxes requested, maximum is 100")
    for ids in ("", "i1,", "i1,UPPER", "i1,'"):
        refused(await measured.client.get("/sandboxes/metrics", params={"sandbox_ids": ids}), 400, "Invalid sandbox ID")
    refused(await measured.client.get("/sandboxes/metrics?sandbox_ids=i1,i1"), 400, "duplicate items")
    refused(await measured.client.get("/sandboxes/metrics"), 400, "sandbox_ids")


async def test_what_a_team_runs(measured: Measured) -> None:
    """§12.3, §12.4: nothing at first; starts are counted when sandboxes are created."""
    for path in (f"/teams/{TEAM}/metrics", f"/teams/{TEAM}/metrics?start=0"):
        assert await measured.get(path) == []
    for metric in ("concurrent_sandboxes", "sandbox_start_rate"):
        peak = await measured.get(f"/teams/{TEAM}/metrics/max?metric={metric}")
        assert (set(peak), peak["value"]) == ({"timestamp", "timestampUnix", "value"}, 0)
    await measured.clickhouse.insert(
        "team_metrics_gauge",
        ("timestamp", "team_id", "metric_name", "value"),
        [(int((time.time() - 20) * 1e9), TEAM, "e2b.team.sandbox.running", 3.0)],
    )
    now = int(time.time())
    (point,) = await measured.get(f"/teams/{TEAM}/metrics?start={now - 60}&end={now}")
    assert (point["concurrentSandboxes"], point["sandboxStartRate"]) == (3, 0)
    assert (await measured.get(f"/teams/{TEAM}/metrics/max?metric=concurrent_sandboxes&start={now - 60}"))["value"] == 3


async def test_questions_about_teams_that_cannot_be_are_refused(measured: Measured) -> None:
    """§12.3, §12.4."""
    other, now = str(uuid.uuid4()), int(time.time())
    words = f"You ({TEAM}) are not authorized to access this team's ({other}) metrics"
    refused(await measured.client.get(f"/teams/{other}/metrics"), 403, words)
    refused(await measured.client.get(f"/teams/{other}/metrics/max?metric=concurrent_sandboxes"), 403, words)
    for path in (f"/teams/{TEAM}/metrics?", f"/teams/{TEAM}/metrics/max?metric=sandbox_start_rate&"):
        refused(await measured.client.get(f"{path}start={now}&end={now - 1}"), 400, "start time cannot be after end time")
        refused(await measured.client.get(f"{path}end={2**40}"), 400, "end time cannot be after 2299-12-31")
        refused(await measured.client.get(f"{path}start=-1"), 400, "validation error")
    refused(await measured.client.get(f"/teams/{TEAM}/metrics/max"), 400, "metric")
    refused(await measured.client.get(f"/teams/{TEAM}/metrics/max?metric=cpu"), 400, "metric")


async def test_nobody_is_told_anything_without_a_key(measured: Measured) -> None:
    async with httpx.AsyncClient(base_url=measured.client.base_url, trust_env=False) as anyone:
        for path in ("/sandboxes/i1/metrics", "/sandboxes/metrics?sandbox_ids=i1", f"/teams/{TEAM}/metrics"):
            assert (await anyone.get(path)).status_code == 401


async def test_a_store_that_is_away_is_said_to_be_and_sandboxes_go_on(bereft: Measured) -> None:
    """An empty list would be a lie. Clients are told nothing of where the store is; they may ask again."""
    started = await bereft.client.post("/v2/sandboxes", json={"templateID": "base", "timeout": 60})
    assert started.status_code == 201
    sandbox_id = started.json()["sandboxID"]
    for path in (
        f"/sandboxes/{sandbox_id}/metrics",
        f"/sandboxes/metrics?sandbox_ids={sandbox_id}",
        f"/teams/{TEAM}/metrics",
        f"/teams/{TEAM}/metrics/max?metric=concurrent_sandboxes",
    ):
        answer = await bereft.client.get(path)
        assert answer.json() == {"code": 503, "message": "metrics and logs are not available at the moment, please retry"}
        assert answer.status_code == 503
    assert (await bereft.client.get(f"/sandboxes/{sandbox_id}")).status_code == 200
    assert (await bereft.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
