"""Lifecycle events in Redis, for webhooks (contract templates-and-data §7, §9.4, data-plane §12.2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from sandbank.aiokit.tasks import TaskGroup
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.contracts.orchestrator import SandboxConfig, SandboxDeleteRequest
from sandbank.orchestrator.adapters import event_feed
from sandbank.orchestrator.adapters.analytics import Analytics
from sandbank.orchestrator.adapters.event_feed import EventFeed
from sandbank.orchestrator.core.events import CREATED, UPDATED, EventFan, LifecycleEvent, killed
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.rpc.orchestrator import OrchestratorClient
from sandbank.state import redis_event_stream
from sandbank.state.redis_connection import connect
from sandbank.state.redis_event_stream import RedisEventStream
from tests.product.redis import RedisServer
from tests.unit.orchestrator.test_service import World, new_request

TEAM, OTHER = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5", "11111111-2222-4333-8444-555555555555"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FIELDS = {"id", "version", "type", "timestamp", "event_category", "event_label", "event_data", "events_ttl_days"} | {
    f"sandbox_{name}" for name in ("id", "execution_id", "template_id", "build_id", "team_id")
}


def sandbox(team_id: str = TEAM, sandbox_id: str = "i1") -> RunningSandbox:
    config = SandboxConfig(sandbox_id=sandbox_id, template_id="template", build_id="build", team_id=team_id, metadata={"who": "me"})
    return RunningSandbox(
        sandbox_id=sandbox_id,
        execution_id="execution",
        team_id=team_id,
        started_at=NOON,
        end_at=NOON + timedelta(minutes=5),
        vcpu=2,
        memory_mib=1024,
        disk_mib=4096,
        traffic_token=None,
        mask_host=None,
        auto_pause=False,
        config=config.SerializeToString(),
    )


async def payloads(redis: Redis) -> list[dict[str, Any]]:
    entries: Any = await redis.xrange("sandbox.events.stream")
    assert all(fields.keys() == {b"payload"} for _, fields in entries)
    return [json.loads(fields[b"payload"]) for _, fields in entries]


class Running:
    """A feed to a server of its own."""

    def __init__(self, server: RedisServer, redis: Redis) -> None:
        self.server = server
        self.redis = redis
        self.feed = EventFeed(RedisEventStream(connect(server.url)))

    async def ids(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(found := await payloads(self.redis)) < count:
                await asyncio.sleep(0.02)
        return [payload["sandbox_id"] for payload in found]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    server = RedisServer(durable=True)
    server.start()
    failures: list[BaseException] = []
    tasks = TaskGroup("feed", lambda task, error: failures.append(error))
    async with Redis(unix_socket_path=str(server.socket)) as redis:
        made = Running(server, redis)
        tasks.start("run", made.feed.run())
        yield made
        await tasks.close()
        await made.feed.stop()
    server.remove()
    assert failures == []


async def test_events_of_teams_with_webhooks_are_in_the_stream_in_their_order(running: Running) -> None:
    """Payload version 2, and nothing of teams whose key is not there."""
    await running.redis.set(f"wh:{TEAM}", "1")
    running.feed.emit(LifecycleEvent(CREATED, NOON, sandbox(OTHER, "iother")))
    events = [
        LifecycleEvent(CREATED, NOON, sandbox()),
        LifecycleEvent(UPDATED, NOON, sandbox(), end_moved=True),
        killed(sandbox(), "request", NOON + timedelta(seconds=2)),
    ]
    for event in events:
        running.feed.emit(event)
    await running.ids(3)
    found = await payloads(running.redis)
    assert [payload["type"] for payload in found] == [f"sandbox.lifecycle.{kind}" for kind in ("created", "updated", "killed")]
    assert [payload["id"] for payload in found] == [str(event.event_id) for event in events]
    created, updated, ended = found
    assert created.keys() == FIELDS
    assert (created["version"], created["timestamp"], created["sandbox_team_id"]) == ("v2", "2026-01-02T12:00:00Z", TEAM)
    assert created["event_data"] == {"sandbox_metadata": {"who": "me"}}
    assert updated["event_data"]["set_timeout"] == "2026-01-02T12:05:00Z"
    assert (ended["event_data"]["kill_reason"], ended["event_data"]["execution"]["execution_time"]) == ("request", 2000)


async def test_events_wait_for_a_redis_that_is_away_and_nobody_waits_for_them(running: Running) -> None:
    await running.redis.set(f"wh:{TEAM}", "1")
    running.server.stop()
    for number in range(3):
        running.feed.emit(LifecycleEvent(CREATED, NOON, sandbox(sandbox_id=f"i{number}")))
    await asyncio.sleep(0.2)
    running.server.start()
    assert list(dict.fromkeys(await running.ids(3))) == ["i0", "i1", "i2"]


async def test_a_dead_redis_keeps_no_event_from_clickhouse(running: Running, tmp_path: Path) -> None:
    client = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    try:
        await Schema(client).up()
        running.server.stop()
        # Now: rows that are older than a week are removed.
        analytics, event = Analytics(client), LifecycleEvent(CREATED, datetime.now(UTC), sandbox())
        EventFan([running.feed, analytics]).emit(event)
        await analytics.stop()
        assert await client.query("SELECT toString(id) FROM sandbox_events") == [(str(event.event_id),)]
    finally:
        await client.close()


async def test_a_node_tells_of_its_sandboxes_and_creates_while_redis_is_dead(running: Running, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings = world.settings.model_copy(update={"redis_url": SecretStr(running.server.url)})
    await running.redis.set("wh:team", "1")
    service = world.new_service()
    await service.start()
    node = OrchestratorClient(service.address)
    running.server.stop()
    request = new_request()
    await node.create(request)
    await node.delete(SandboxDeleteRequest(sandbox_id=request.sandbox.sandbox_id))
    running.server.start()
    await node.close()
    await running.ids(2)
    await service.stop()
    assert [payload["type"] for payload in await payloads(running.redis)] == ["sandbox.lifecycle.created", "sandbox.lifecycle.killed"]


async def test_what_waits_is_bounded_and_the_oldest_make_room(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await running.redis.set(f"wh:{TEAM}", "1")
    monkeypatch.setattr(event_feed, "MAX_PENDING_BYTES", 3 * event_feed._size(LifecycleEvent(CREATED, NOON, sandbox())))
    for number in range(8):
        running.feed.emit(LifecycleEvent(CREATED, NOON, sandbox(sandbox_id=f"i{number}")))
    assert await running.ids(3) == ["i5", "i6", "i7"]


async def test_the_stream_is_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis cuts whole nodes of a hundred entries off."""
    monkeypatch.setattr(redis_event_stream, "_KEPT", 100)
    await redis.set(f"wh:{TEAM}", "1")
    await RedisEventStream(redis).publish([(TEAM, "{}")] * 1000)
    assert 100 <= await redis.xlen("sandbox.events.stream") <= 200
