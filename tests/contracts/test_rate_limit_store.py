"""Both halves of the rate limits' store (rest-api contract §5, templates contract §7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from sandbank.domain.errors import UnavailableError
from sandbank.domain.rate_limit import RateLimit
from sandbank.state.memory_rate_limit_store import MemoryRateLimitStore
from sandbank.state.rate_limit_store import RateLimitStore
from sandbank.state.redis_rate_limit_store import RedisRateLimitStore
from tests.contracts.redis_server import empty_redis

HOURLY = RateLimit(3, 3, 3600)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RateLimitStore]:
    if request.param == "memory":
        yield MemoryRateLimitStore()
        return
    async with empty_redis(request.getfixturevalue("redis_socket")) as redis:
        yield RedisRateLimitStore(redis)


async def test_a_burst_passes_and_no_more(store: RateLimitStore) -> None:
    verdicts = [await store.take("ratelimit:t:/x", HOURLY) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert {verdict.limit for verdict in verdicts} == {3}
    assert 1190 < verdicts[3].retry_after_seconds <= 1200
    assert 3590 < verdicts[4].reset_after_seconds <= 3600
    assert (await store.take("ratelimit:other:/x", HOURLY)).allowed


async def test_what_is_refused_costs_nothing(store: RateLimitStore) -> None:
    limit = RateLimit(10, 1, 1)
    assert (await store.take("k", limit)).allowed
    refused = await store.take("k", limit)
    assert not refused.allowed
    await asyncio.sleep(refused.retry_after_seconds + 0.005)
    assert (await store.take("k", limit)).allowed


async def test_many_at_once_are_counted_exactly(store: RateLimitStore) -> None:
    limit = RateLimit(20, 20, 3600)
    verdicts = await asyncio.gather(*(store.take("k", limit) for _ in range(50)))
    assert sum(verdict.allowed for verdict in verdicts) == 20


async def test_redis_keys_are_named_as_tools_know_them_and_expire(redis: Redis) -> None:
    await RedisRateLimitStore(redis).take("ratelimit:t:/sandboxes/:sandboxID", HOURLY)
    assert 0 < await redis.pttl("rate:ratelimit:t:/sandboxes/:sandboxID") <= 1_200_001


async def test_redis_that_is_not_there_is_unavailable() -> None:
    redis: Redis = Redis(host="127.0.0.1", port=1)
    with pytest.raises(UnavailableError, match="Redis does not answer"):
        await RedisRateLimitStore(redis).take("k", HOURLY)
    await redis.aclose()
