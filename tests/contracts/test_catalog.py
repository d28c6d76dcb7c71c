"""What every routing catalog promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from sandbank.state.catalog import Catalog, CatalogEntry, MemoryCatalog
from sandbank.state.redis_catalog import RedisCatalog
from tests.contracts.redis_server import empty_redis


@pytest.fixture(params=["memory", "redis"])
async def catalog(request: pytest.FixtureRequest) -> AsyncIterator[Catalog]:
    if request.param == "memory":
        yield MemoryCatalog()
        return
    async with empty_redis(request.getfixturevalue("redis_socket")) as redis:
        yield RedisCatalog(redis)


def entry(execution_id: str = "e1", node: str = "n1") -> CatalogEntry:
    return CatalogEntry("s1", execution_id, node, "10.0.0.1", datetime(2026, 1, 1, tzinfo=UTC), 24)


async def test_finds_what_was_put(catalog: Catalog) -> None:
    assert await catalog.find("s1") is None
    await catalog.put(entry())
    assert await catalog.find("s1") == entry()


async def test_the_newest_execution_wins(catalog: Catalog) -> None:
    await catalog.put(entry("e1", "n1"))
    await catalog.put(entry("e2", "n2"))
    await catalog.remove("s1", "e1")
    assert await catalog.find("s1") == entry("e2", "n2")


async def test_removing_twice_is_no_error(catalog: Catalog) -> None:
    await catalog.put(entry())
    await catalog.remove("s1", "e1")
    await catalog.remove("s1", "e1")
    assert await catalog.find("s1") is None
