"""Of snapshots only those go that no row has spoken of for hours (design: artefacts)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from sandbank.api.background import snapshot_collector
from sandbank.api.background.snapshot_collector import SnapshotCollector
from sandbank.api.core.unknown_snapshots import UnknownSnapshots
from sandbank.domain.errors import SandbankError, UnavailableError


class _World:
    """Nodes, rows and a clock."""

    def __init__(self) -> None:
        self.places: list[tuple[str, str]] = []
        self.rows: set[str] = set()
        self.discarded: list[tuple[str, str]] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.error: SandbankError | None = None
        self.unknown = UnknownSnapshots(self, self, lambda: self.now)

    async def list_snapshots(self) -> Sequence[tuple[str, str]]:
        return list(self.places)

    def discard(self, node_id: str, build_id: str) -> None:
        self.discarded.append((node_id, build_id))

    async def known(self, build_ids: Collection[str]) -> Collection[str]:
        if self.error is not None:
            raise self.error
        return self.rows.intersection(build_ids)

    async def look(self, hours: float) -> list[tuple[str, str]]:
        self.now += timedelta(hours=hours)
        self.discarded.clear()
        assert await self.unknown.look() == len(self.discarded)
        return self.discarded


@pytest.fixture
def world() -> _World:
    return _World()


KEPT, LOST = str(uuid.uuid4()), str(uuid.uuid4())


async def test_what_no_row_speaks_of_goes_from_everywhere_after_hours(world: _World) -> None:
    world.places = [("n1", KEPT), ("n1", LOST), ("n2", LOST), ("n2", "base")]
    world.rows = {KEPT}
    assert await world.look(0) == []
    assert await world.look(5.9) == []
    assert await world.look(0.2) == [("n1", LOST), ("n2", LOST)]


async def test_the_time_begins_anew_for_what_was_known_meanwhile_or_not_seen(world: _World) -> None:
    world.places = [("n1", LOST)]
    await world.look(0)
    world.rows = {LOST}
    assert await world.look(7) == []
    world.rows = set()
    assert await world.look(1) == []
    world.places = []
    assert await world.look(5) == []
    world.places = [("n1", LOST)]
    assert await world.look(5) == []
    assert await world.look(6) == [("n1", LOST)]


async def test_nothing_goes_while_the_database_is_away(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_collector, "_PERIOD_SECONDS", 0.01)
    world.places = [("n1", LOST)]
    await world.look(0)
    world.now += timedelta(hours=7)
    world.error = UnavailableError("the database is away")
    said: list[BaseException] = []
    removed: list[int] = []
    collector = SnapshotCollector(world.unknown, removed.append, lambda _, error: said.append(error))
    task = asyncio.create_task(collector.run())
    async with asyncio.timeout(5):
        while not said:
            await asyncio.sleep(0.01)
        assert world.discarded == []
        world.error = None
        while not removed:
            await asyncio.sleep(0.01)
    assert world.discarded[0] == ("n1", LOST)
    task.cancel()
    await asyncio.wait({task})
