"""The connection breaks after Redis has done what it was asked, before it has said so: the library asks once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.domain.states import SandboxState
from sandbank.state.redis_connection import connect
from sandbank.state.redis_idempotency_store import RedisIdempotencyStore
from sandbank.state.redis_sandbox_store import RedisSandboxStore
from tests.contracts.breaking_connection import BreakingConnection, breaking
from tests.unit.api.made import TEAM, sandbox


@pytest.fixture
async def way(redis: Redis, redis_socket: Path, tmp_path: Path) -> AsyncIterator[BreakingConnection]:
    async with breaking(redis_socket, tmp_path / "s") as connection:
        yield connection


@pytest.fixture
async def client(way: BreakingConnection, tmp_path: Path) -> AsyncIterator[Redis]:
    client = connect(f"unix://{tmp_path / 's'}")
    yield client
    await client.aclose()


@pytest.fixture
async def store(client: Redis) -> AsyncIterator[RedisSandboxStore]:
    store = RedisSandboxStore(client)
    yield store
    await store.close()


async def test_a_place_that_was_taken_is_the_callers(store: RedisSandboxStore, way: BreakingConnection) -> None:
    way.break_at = b"pending"
    assert await store.reserve(TEAM.team_id, "i1", 1)
    assert way.break_at is None
    assert not await store.reserve(TEAM.team_id, "i2", 1)


async def test_a_change_that_began_is_the_callers(store: RedisSandboxStore, way: BreakingConnection) -> None:
    await store.add(sandbox())
    way.break_at = b"|killing"
    transition = await store.begin("i1", SandboxState.KILLING)
    assert way.break_at is None
    assert transition is not None
    assert transition.owned


async def test_a_change_that_ended_leaves_nothing(store: RedisSandboxStore, redis: Redis, way: BreakingConnection) -> None:
    await store.add(sandbox())
    transition = await store.begin("i1", SandboxState.KILLING)
    assert transition is not None
    way.break_at = b"|killing"
    await transition.complete()
    assert way.break_at is None
    assert await redis.ttl("sandbank:owner:i1") > 0
    assert await redis.zcard("sandbox:storage:global:expiration") == 0


async def test_a_lock_that_was_taken_is_held_and_released(store: RedisSandboxStore, way: BreakingConnection) -> None:
    await store.add(sandbox())
    way.break_at = b"lock:"
    async with asyncio.timeout(5), store.lock("i1"):
        assert way.break_at is None
    async with asyncio.timeout(5), store.lock("i1"):
        pass


async def test_a_key_that_was_claimed_is_the_claimants(client: Redis, way: BreakingConnection) -> None:
    keys, entry = RedisIdempotencyStore(client), IdempotencyEntry("fingerprint", "isubject", 1.0)
    way.break_at = b"isubject"
    assert await keys.claim("t", "k", entry) is None
    assert way.break_at is None


async def test_a_lock_whose_taking_was_cancelled_is_free(store: RedisSandboxStore, way: BreakingConnection) -> None:
    await store.add(sandbox())
    async with store.lock("i1"):
        pass
    way.break_at, way.hangs = b"lock:", True
    taking = asyncio.ensure_future(store.lock("i1").__aenter__())
    await way.broken.wait()
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    async with asyncio.timeout(5), store.lock("i1"):
        pass
