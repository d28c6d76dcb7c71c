"""What every store of running sandboxes promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sandbank.domain.errors import InternalError, SandbankError
from sandbank.domain.states import SandboxState
from sandbank.state.memory_sandbox_store import MemorySandboxStore
from sandbank.state.redis_sandbox_store import RedisSandboxStore
from sandbank.state.sandbox_store import SandboxStore
from tests.contracts.redis_server import empty_redis
from tests.unit.api.made import NOON, TEAM, sandbox

KILLING, SNAPSHOTTING = SandboxState.KILLING, SandboxState.SNAPSHOTTING
LATER = NOON + timedelta(hours=1)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SandboxStore]:
    if request.param == "memory":
        yield MemorySandboxStore()
        return
    async with empty_redis(request.getfixturevalue("redis_socket")) as redis:
        store = RedisSandboxStore(redis)
        yield store
        await store.close()


async def test_quota_counts_what_runs_and_what_starts(store: SandboxStore) -> None:
    assert await store.reserve(TEAM.team_id, "i1", 2)
    await store.add(sandbox("i1"))
    assert not await store.is_reserved("i1")
    assert await store.reserve(TEAM.team_id, "i2", 2)
    assert not await store.reserve(TEAM.team_id, "i3", 2)
    assert await store.reserve("another", "i3", 2)
    await store.release(TEAM.team_id, "i2")
    await store.release(TEAM.team_id, "i2")
    assert await store.reserve(TEAM.team_id, "i4", 2)
    assert not await store.reserve(TEAM.team_id, "i5", 2)


async def test_records_are_found_by_id_team_and_node(store: SandboxStore) -> None:
    one, two = sandbox("i1"), sandbox("i2", team_id="t2", node_id="n2")
    await store.add(one)
    await store.add(two)
    assert await store.find("i2") == two
    assert list(await store.list_team(TEAM.team_id)) == [one]
    assert list(await store.list_node("n2")) == [two]
    assert await store.find("i3") is None
    assert list(await store.list_team("t3")) == []


async def test_a_new_execution_replaces_the_old_one_everywhere(store: SandboxStore) -> None:
    await store.add(sandbox("i1"))
    newer = sandbox("i1", execution_id="e2", node_id="n2")
    await store.add(newer)
    assert list(await store.list_node("n1")) == []
    assert list(await store.list_team(TEAM.team_id)) == [newer]
    assert not await store.forget("i1", "exec-i1")
    assert not await store.set_end("i1", "exec-i1", LATER)


async def test_killing_ends_in_nothing(store: SandboxStore) -> None:
    await store.add(sandbox())
    transition = await store.begin("i1", KILLING)
    assert transition is not None
    assert transition.owned
    found = await store.find("i1")
    assert found is not None
    assert found.state is KILLING
    assert not await store.set_end("i1", "exec-i1", LATER)
    assert not await store.forget("i1", "exec-i1")
    await transition.complete()
    assert await store.find("i1") is None
    assert await store.begin("i1", KILLING) is None


async def test_the_same_wish_is_joined(store: SandboxStore) -> None:
    await store.add(sandbox())
    first, second = await store.begin("i1", KILLING), await store.begin("i1", KILLING)
    assert first is not None
    assert second is not None
    assert not second.owned
    waiting = asyncio.ensure_future(second.join())
    await asyncio.sleep(0)
    assert not waiting.done()
    await first.complete()
    await waiting


async def test_a_failure_reaches_all_and_leaves_it_running(store: SandboxStore) -> None:
    await store.add(sandbox())
    first, second = await store.begin("i1", KILLING), await store.begin("i1", KILLING)
    assert first is not None
    assert second is not None
    await first.complete(InternalError("no"))
    with pytest.raises(SandbankError, match="no"):
        await second.join()
    assert await store.find("i1") == sandbox()
    third = await store.begin("i1", KILLING)
    assert third is not None
    assert third.owned
    await third.complete()


async def test_another_wish_waits_its_turn(store: SandboxStore) -> None:
    await store.add(sandbox())
    snapshot = await store.begin("i1", SNAPSHOTTING)
    assert snapshot is not None
    kill = asyncio.ensure_future(store.begin("i1", KILLING))
    await asyncio.sleep(0)
    assert not kill.done()
    await snapshot.complete()
    transition = await kill
    assert transition is not None
    assert transition.owned
    await transition.complete()
    assert await store.find("i1") is None


async def test_expired_ones_come_up_until_they_are_gone(store: SandboxStore) -> None:
    await store.add(sandbox("i1"))
    await store.add(sandbox("i2", end_at=LATER))
    due, retry = NOON + timedelta(minutes=5), NOON + timedelta(minutes=6)
    assert list(await store.expired(due - timedelta(seconds=1), 10, retry)) == []
    assert [found.sandbox_id for found in await store.expired(due, 10, retry)] == ["i1"]
    assert list(await store.expired(due, 10, retry)) == []
    assert [found.sandbox_id for found in await store.expired(retry, 10, LATER)] == ["i1"]
    await store.forget("i1", "exec-i1")
    assert list(await store.expired(LATER - timedelta(seconds=1), 10, LATER)) == []


async def test_an_extended_one_does_not_expire(store: SandboxStore) -> None:
    await store.add(sandbox())
    assert await store.set_end("i1", "exec-i1", LATER)
    assert list(await store.expired(LATER - timedelta(seconds=1), 10, LATER)) == []
    assert [found.end_at for found in await store.expired(LATER, 10, LATER)] == [LATER]


async def test_a_shortened_one_expires_sooner(store: SandboxStore) -> None:
    await store.add(sandbox())
    assert await store.set_end("i1", "exec-i1", NOON)
    assert len(await store.expired(NOON, 10, LATER)) == 1


async def test_thousands_of_extensions_lose_no_expiration(store: SandboxStore) -> None:
    await store.add(sandbox("i1"))
    await store.add(sandbox("i2"))
    for second in range(2000):
        await store.set_end("i1", "exec-i1", NOON + timedelta(minutes=6, seconds=second))
    assert [found.sandbox_id for found in await store.expired(NOON + timedelta(minutes=5), 10, LATER)] == ["i2"]
    assert {found.sandbox_id for found in await store.expired(LATER, 10, LATER)} == {"i1", "i2"}


async def test_one_being_ended_is_not_offered(store: SandboxStore) -> None:
    await store.add(sandbox())
    transition = await store.begin("i1", KILLING)
    assert transition is not None
    assert list(await store.expired(LATER, 10, LATER)) == []
    await transition.complete()


async def test_the_lock_is_per_sandbox(store: SandboxStore) -> None:
    order: list[str] = []

    async def hold(sandbox_id: str, name: str) -> None:
        async with store.lock(sandbox_id):
            order.append(f"{name} in")
            await asyncio.sleep(0.01)
            order.append(f"{name} out")

    await asyncio.gather(hold("i1", "a"), hold("i1", "b"), hold("i2", "c"))
    assert order.index("a out") < order.index("b in")
    assert order.index("c in") < order.index("a out")


async def test_a_lock_holds_although_the_sandbox_comes_to_life_meanwhile(store: SandboxStore) -> None:
    """A paused sandbox has no record and no owner until it is resumed, which happens under the lock."""
    order: list[str] = []

    async def second() -> None:
        async with store.lock("i1"):
            order.append("second")

    async with store.lock("i1"):
        assert await store.reserve(TEAM.team_id, "i1", 1)
        waiting = asyncio.ensure_future(second())
        await asyncio.sleep(0.1)
        await store.add(sandbox("i1"))
        order.append("first")
    await waiting
    assert order == ["first", "second"]
