"""The read-through cache: one load per miss, stale values while it refreshes, misses not believed for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.cache import RefreshingCache


class Source:
    """What is cached, and how often it was asked."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.loads = 0
        self.now = 0.0
        self.error: Exception | None = None

    async def load(self, key: str) -> str | None:
        self.loads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.values.get(key)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def cache(source: Source) -> AsyncIterator[RefreshingCache[str, str]]:
    tasks = TaskGroup("test", lambda name, error: None)
    yield RefreshingCache(source.load, tasks, source.clock)
    await tasks.close()


async def test_a_hundred_callers_load_once(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "v"
    assert await asyncio.gather(*(cache.get("k") for _ in range(100))) == ["v"] * 100
    assert await cache.get("k") == "v"
    assert source.loads == 1


async def test_an_ageing_value_is_served_while_it_is_reloaded(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "old"
    await cache.get("k")
    source.values["k"], source.now = "new", 61.0
    assert await cache.get("k") == "old"
    for _ in range(5):
        await asyncio.sleep(0)
    assert await cache.get("k") == "new"
    assert source.loads == 2


async def test_an_old_value_is_not_served(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "old"
    await cache.get("k")
    source.values["k"], source.now = "new", 301.0
    assert await cache.get("k") == "new"


async def test_a_failing_refresh_keeps_the_value_and_is_tried_again(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "v"
    await cache.get("k")
    source.now, source.error = 61.0, RuntimeError("away")
    for _ in range(3):
        assert await cache.get("k") == "v"
        for _ in range(5):
            await asyncio.sleep(0)
    assert source.loads == 4


async def test_what_is_missing_may_appear(source: Source, cache: RefreshingCache[str, str]) -> None:
    assert await cache.get("k") is None
    source.values["k"] = "v"
    assert await cache.get("k") is None
    source.now = 2.0
    assert await cache.get("k") == "v"


async def test_errors_are_not_remembered(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.error = RuntimeError("away")
    with pytest.raises(RuntimeError):
        await cache.get("k")
    source.error, source.values["k"] = None, "v"
    assert await cache.get("k") == "v"


async def test_invalidating_distrusts_a_load_in_flight(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "old"
    loading = asyncio.ensure_future(cache.get("k"))
    while not source.loads:
        await asyncio.sleep(0)
    cache.invalidate("k")
    source.values["k"] = "new"
    await loading
    assert await cache.get("k") == "new"


async def test_a_caller_who_leaves_does_not_stop_the_others(source: Source, cache: RefreshingCache[str, str]) -> None:
    source.values["k"] = "v"
    first, second = asyncio.ensure_future(cache.get("k")), asyncio.ensure_future(cache.get("k"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "v"
    assert first.cancelled()


async def test_made_up_keys_push_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may ask for as many keys as they like (REST contract §3.4)."""
    monkeypatch.setattr("sandbank.api.adapters.cache._CAPACITY", 10)
    loaded: list[str] = []

    async def load(key: str) -> str | None:
        loaded.append(key)
        return "team" if key == "real" else None

    tasks = TaskGroup("test", lambda name, error: None)
    cache: RefreshingCache[str, str] = RefreshingCache(load, tasks)
    assert await cache.get("real") == "team"
    for number in range(100):
        assert await cache.get(f"made up {number}") is None
    assert await cache.get("real") == "team"
    assert loaded.count("real") == 1
    assert len(cache._missing) <= 10
    await tasks.close()
