"""What calls that are passed through change in the catalog (contract data-plane §8.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbank.client_proxy.endpoints.edge_catalog_events import CatalogEvents
from sandbank.domain.errors import InvalidError
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from tests.unit.client_proxy.edge_world import node

CREATE = {
    "event-type": "sandbox-catalog-create",
    "sandbox-id": "iabc",
    "execution-id": "execution-1",
    "orchestrator-id": "node-1",
    "sandbox-max-length-in-hours": "24",
    "sandbox-start-time": "2026-01-02T03:04:05+01:00",
}
DELETE = {"event-type": "sandbox-catalog-delete", "sandbox-id": "iabc", "execution-id": "execution-1"}


async def test_a_created_sandbox_is_in_the_catalog_before_the_call_and_after_it() -> None:
    catalog = MemoryCatalog()
    async with CatalogEvents(catalog).around(CREATE, node(1)):
        assert await catalog.find("iabc") is not None
    started_at = datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert await catalog.find("iabc") == CatalogEntry("iabc", "execution-1", "node-1", "10.0.0.1", started_at, 24)


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt])
async def test_a_create_that_fails_is_taken_back(end: type[BaseException]) -> None:
    catalog = MemoryCatalog()
    with pytest.raises(end):
        async with CatalogEvents(catalog).around(CREATE, node(1)):
            raise end
    assert await catalog.find("iabc") is None


async def test_a_deleted_sandbox_is_unroutable_before_the_node_hears_of_it() -> None:
    catalog = MemoryCatalog()
    async with CatalogEvents(catalog).around(CREATE, node(1)):
        pass
    async with CatalogEvents(catalog).around({**DELETE, "execution-id": "another"}, node(1)):
        assert await catalog.find("iabc") is not None
    async with CatalogEvents(catalog).around(DELETE, node(1)):
        assert await catalog.find("iabc") is None


@pytest.mark.parametrize("metadata", [{}, {"event-type": "something-new"}])
async def test_calls_without_an_event_change_nothing(metadata: dict[str, str | bytes]) -> None:
    catalog = MemoryCatalog()
    async with CatalogEvents(catalog).around(metadata, node(1)):
        assert await catalog.find("iabc") is None


@pytest.mark.parametrize(
    "change",
    [
        *({key: ""} for key in CREATE if key != "event-type"),
        {"sandbox-id": "../../etc"},
        {"sandbox-id": b"iabc"},
        {"execution-id": "e" * 300},
        {"sandbox-max-length-in-hours": "-1"},
        {"sandbox-max-length-in-hours": "0"},
        {"sandbox-max-length-in-hours": "²"},
        {"sandbox-max-length-in-hours": "9" * 200},
        {"sandbox-start-time": "yesterday"},
        {"sandbox-start-time": "2026-01-02T03:04:05"},
        {"sandbox-start-time": "0001-01-01T00:00:00+14:00"},
    ],
)
async def test_incomplete_events_are_refused_before_anything_is_done(change: dict[str, str | bytes]) -> None:
    catalog = MemoryCatalog()
    with pytest.raises(InvalidError, match="metadata"):
        async with CatalogEvents(catalog).around({**CREATE, **change}, node(1)):
            raise AssertionError("the call was made")
    assert await catalog.find("iabc") is None
