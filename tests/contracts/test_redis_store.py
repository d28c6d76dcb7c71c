"""What only the Redis half of the stores has to do: processes die, connections break (contract data-plane §10.2)."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sandbank.domain.errors import InternalError, InvalidError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from sandbank.state import redis_lock, redis_sandbox_store
from sandbank.state.cached_catalog import CachedCatalog
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from sandbank.state.redis_connection import connect
from sandbank.state.redis_sandbox_store import RedisSandboxStore
from sandbank.state.sandbox_codec import FIELDS, decode, encode
from tests.unit.api.made import NOON, TEAM, sandbox

KILLING, SNAPSHOTTING = SandboxState.KILLING, SandboxState.SNAPSHOTTING


def test_the_codec_forgets_no_field() -> None:
    assert {field.name for field in dataclasses.fields(Sandbox)} == FIELDS
    full = sandbox(
        metadata={"a": "ä"},
        alias="base",
        envd_access_token="t",
        traffic_access_token="u",
        allow_internet_access=False,
        network={"allowOut": ["1.1.1.1"], "rules": {}},
        state=SNAPSHOTTING,
        volume_mounts=(("data", "/data"),),
        started_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )
    assert decode(encode(full)) == full
    assert decode(encode(sandbox())) == sandbox()


async def test_a_change_whose_owner_died_is_taken_over(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sandbox_store, "_TRANSITION_SECONDS", 1)
    dead, alive = RedisSandboxStore(redis), RedisSandboxStore(redis)
    await alive.add(sandbox(end_at=datetime.now(UTC) + timedelta(hours=1)))
    assert await dead.begin("i1", KILLING) is not None
    joined = await alive.begin("i1", KILLING)
    assert joined is not None
    assert not joined.owned
    with pytest.raises(InternalError, match="died, please retry"):
        await joined.join()
    # It is overdue, so that the evictor of whoever lives comes for it.
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert [one.sandbox_id for one in await alive.expired(later, 10, later + timedelta(hours=1))] == ["i1"]
    transition = await alive.begin("i1", KILLING)
    assert transition is not None
    assert transition.owned
    await transition.complete()
    assert await alive.find("i1") is None
    assert await alive.count_teams() == {}
    await dead.close()
    await alive.close()


async def test_whoever_comes_back_late_changes_nothing(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sandbox_store, "_TRANSITION_SECONDS", 1)
    store = RedisSandboxStore(redis)
    await store.add(sandbox())
    late = await store.begin("i1", KILLING)
    assert late is not None
    await asyncio.sleep(1.1)
    second = await store.begin("i1", SNAPSHOTTING)
    assert second is not None
    await late.complete()
    found = await store.find("i1")
    assert found is not None
    assert found.state is SNAPSHOTTING
    await second.complete()
    await store.close()


async def test_a_start_whose_process_died_gives_its_place_back(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sandbox_store, "_PENDING_SECONDS", 1)
    dead, alive = RedisSandboxStore(redis), RedisSandboxStore(redis)
    assert await dead.reserve(TEAM.team_id, "i1", 1)
    await dead.close()
    assert await alive.is_reserved("i1")
    assert not await alive.reserve(TEAM.team_id, "i2", 1)
    await asyncio.sleep(2.05)
    assert not await alive.is_reserved("i1")
    assert await alive.reserve(TEAM.team_id, "i2", 1)
    await alive.close()


async def test_a_start_that_takes_long_keeps_its_place(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sandbox_store, "_PENDING_SECONDS", 2)
    monkeypatch.setattr(redis_sandbox_store, "_OWNER_SECONDS", 2)
    monkeypatch.setattr(redis_sandbox_store, "_RENEW_SECONDS", 0.1)
    store, other = RedisSandboxStore(redis), RedisSandboxStore(redis)
    assert await store.reserve(TEAM.team_id, "i1", 1)
    await asyncio.sleep(3.2)
    assert not await other.reserve(TEAM.team_id, "i2", 1)
    assert await other.is_reserved("i1")
    await store.add(sandbox("i1"))
    await asyncio.sleep(0.3)
    assert await redis.ttl("sandbank:owner:i1") == -1
    assert await redis.zcard(f"sandbox:storage:{{{TEAM.team_id}}}:reservations:pending") == 0
    await store.close()
    await other.close()


async def test_a_lock_outlives_its_holders_death_by_its_time_only(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_lock, "_HELD_MILLISECONDS", 300)
    dead, alive = RedisSandboxStore(redis), RedisSandboxStore(redis)
    await alive.add(sandbox())
    await dead.lock("i1").__aenter__()
    await dead.close()  # nobody renews it
    async with asyncio.timeout(5), alive.lock("i1"):
        pass
    await alive.close()


async def test_an_update_is_made_of_what_is_there_however_many_there_are(redis: Redis) -> None:
    store = RedisSandboxStore(redis)
    await store.add(sandbox(metadata={}))

    async def add(number: int) -> None:
        changed = await store.update("i1", "exec-i1", lambda old: dataclasses.replace(old, metadata={**old.metadata, str(number): "x"}))
        assert changed is not None

    await asyncio.gather(*(add(number) for number in range(30)))
    found = await store.find("i1")
    assert found is not None
    assert len(found.metadata) == 30
    await store.close()


async def test_indexes_that_name_too_much_are_mended(redis: Redis) -> None:
    store = RedisSandboxStore(redis)
    await store.add(sandbox("i1"))
    await redis.delete(f"sandbox:storage:{{{TEAM.team_id}}}:sandboxes:i1")
    assert list(await store.list_node("n1")) == []
    assert list(await store.list_team(TEAM.team_id)) == []
    assert list(await store.expired(NOON + timedelta(hours=1), 10, NOON + timedelta(hours=2))) == []
    assert await redis.zcard("sandbox:storage:global:expiration") == 0
    await store.close()


async def test_of_many_that_ask_what_is_due_each_gets_something_else(redis: Redis) -> None:
    stores = [RedisSandboxStore(redis) for _ in range(4)]
    for number in range(40):
        await stores[0].add(sandbox(f"i{number}"))
    late = NOON + timedelta(hours=1)
    found = await asyncio.gather(*(store.expired(late, 15, late + timedelta(seconds=9)) for store in stores for _ in range(3)))
    ids = [one.sandbox_id for some in found for one in some]
    assert len(ids) == len(set(ids)) == 40
    for store in stores:
        await store.close()


async def test_a_redis_that_is_not_there_is_unavailable() -> None:
    redis = connect("127.0.0.1:9")
    store = RedisSandboxStore(redis)
    for call in (store.find("i1"), store.reserve("t", "i1", 1), store.begin("i1", KILLING), store.list_team("t"), store.add(sandbox())):
        with pytest.raises(UnavailableError, match="Redis does not answer"):
            await call
    with pytest.raises(UnavailableError):
        await store.lock("i1").__aenter__()
    await store.close()
    await redis.aclose()


async def test_more_calls_at_once_than_connections_wait_for_one(redis: Redis, redis_socket: Path) -> None:
    client = connect(f"unix://{redis_socket}")
    store = RedisSandboxStore(client)
    await store.add(sandbox())
    found = await asyncio.gather(*(store.find("i1") for _ in range(1000)))
    assert found == [sandbox()] * 1000
    await store.close()
    await client.aclose()


@pytest.mark.parametrize("url", ["http://h/", "redis://h:port", "redis://h:99999999"])
def test_a_url_that_means_nothing_is_named(url: str) -> None:
    with pytest.raises(InvalidError, match="REDIS_URL"):
        connect(url)


class _Away(MemoryCatalog):
    is_away = False
    asked = 0

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        self.asked += 1
        if self.is_away:
            raise UnavailableError("Redis does not answer")
        return await super().find(sandbox_id)


async def test_known_routes_hold_while_the_catalog_is_away() -> None:
    catalog, now = _Away(), [0.0]
    cached = CachedCatalog(catalog, lambda: now[0])
    await catalog.put(CatalogEntry("i1", "e1", "n1", "10.0.0.1", datetime.now(UTC), 24))
    await catalog.put(CatalogEntry("iold", "e1", "n1", "10.0.0.1", datetime.now(UTC) - timedelta(hours=25), 24))
    assert cached.find_fresh("i1") is None
    found = await cached.find("i1")
    assert found is not None
    assert cached.find_fresh("i1") == found
    assert catalog.asked == 1
    now[0] = 1.5
    assert cached.find_fresh("i1") is None
    await cached.find("iold")
    catalog.is_away = True
    assert await cached.find("i1") == found
    for unknown in ("i2", "iold"):
        with pytest.raises(UnavailableError):
            await cached.find(unknown)
    catalog.is_away = False
    await catalog.remove("i1", "e1")
    assert await cached.find("i1") is None
    catalog.is_away = True
    with pytest.raises(UnavailableError):
        await cached.find("i1")


async def test_known_routes_do_not_wait_for_a_catalog_that_hangs() -> None:
    class Hanging(_Away):
        async def find(self, sandbox_id: str) -> CatalogEntry | None:
            if self.is_away:
                self.asked += 1
                await asyncio.Event().wait()
            return await MemoryCatalog.find(self, sandbox_id)

    catalog, now = Hanging(), [0.0]
    cached = CachedCatalog(catalog, lambda: now[0])
    await cached.put(CatalogEntry("i1", "e1", "n1", "10.0.0.1", datetime.now(UTC), 24))
    now[0] = 1.5
    assert cached.find_fresh("i1") is None
    catalog.is_away = True
    async with asyncio.timeout(5):
        found = await cached.find("i1")
    assert found is not None
    # Nor does each request wait anew.
    assert cached.find_fresh("i1") == found
    assert catalog.asked == 1


@pytest.mark.parametrize("text", ['{"sandboxID":"i1","teamID":"t1"}', "null", "{", '{"state":[]}'])
async def test_a_record_that_cannot_be_read_stops_nobody_and_is_replaced(redis: Redis, text: str) -> None:
    """By what its node says: to the reconciler it is a sandbox that nobody knows."""
    store = RedisSandboxStore(redis)
    await store.add(sandbox("i1"))
    await store.add(sandbox("i2"))
    await redis.set(f"sandbox:storage:{{{TEAM.team_id}}}:sandboxes:i1", text)
    assert await store.find("i1") is None
    assert await store.begin("i1", KILLING) is None
    assert not await store.set_end("i1", "exec-i1", NOON)
    assert not await store.forget("i1", "exec-i1")
    assert list(await store.list_team(TEAM.team_id)) == [sandbox("i2")]
    assert list(await store.list_node("n1")) == [sandbox("i2")]
    assert list(await store.expired(NOON + timedelta(hours=1), 10, NOON + timedelta(hours=2))) == [sandbox("i2")]
    await store.add(sandbox("i1"))
    assert await store.find("i1") == sandbox("i1")
    assert len(await store.list_node("n1")) == 2
    await store.close()
