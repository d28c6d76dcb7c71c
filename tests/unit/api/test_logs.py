"""From when to when, and of whose sandboxes, clients read logs (rest-api contract §13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from sandbank.api.core.logs import MAX_LIMIT_V1, LogReader
from sandbank.domain.errors import InvalidError
from sandbank.domain.log_query import LogEntry, LogQuery
from tests.unit.api.made import NOON, TEAM

WEEK = int(timedelta(days=7).total_seconds()) * 1000
NOW = int(NOON.timestamp() * 1000)
MS = 1_000_000


class Store:
    def __init__(self) -> None:
        self.asked: list[LogQuery] = []

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        self.asked.append(query)
        return []

    @property
    def window(self) -> tuple[int, int]:
        return self.asked[-1].start_ns // MS, self.asked[-1].end_ns // MS


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reader(store: Store) -> LogReader:
    return LogReader(store, lambda: NOON)


async def test_the_first_version_reads_the_last_seven_days_until_now(reader: LogReader, store: Store) -> None:
    await reader.since(TEAM, "i1", None, 1000)
    assert store.window == (NOW + 1 - WEEK, NOW + 1)
    assert not store.asked[0].newest_first


@pytest.mark.parametrize(("start", "expected"), [(NOW - 1000, NOW - 1000), (0, NOW + 1 - WEEK)])
async def test_a_start_is_kept_unless_it_is_too_old(reader: LogReader, store: Store, start: int, expected: int) -> None:
    await reader.since(TEAM, "i1", start, 1000)
    assert store.window == (expected, NOW + 1)


async def test_the_first_versions_limit_is_bounded(reader: LogReader, store: Store) -> None:
    await reader.since(TEAM, "i1", None, 2**31 - 1)
    assert store.asked[0].limit == MAX_LIMIT_V1


async def page(reader: LogReader, cursor: int | None, *, newest_first: bool, limit: int = 10) -> None:
    assert await reader.page(TEAM, "i1", cursor, limit, newest_first=newest_first, min_level="warn", search="x") == []


@pytest.mark.parametrize(
    ("cursor", "newest_first", "expected"),
    [
        (None, True, (NOW + 1 - WEEK, NOW + 1)),
        (NOW - 5000, True, (NOW - 5000 - WEEK, NOW - 5000)),
        (None, False, (NOW + 1 - WEEK, NOW + 1)),
        (NOW - 5000, False, (NOW - 5000, NOW - 5000 + WEEK)),
        (1000, True, (0, 1000)),
    ],
)
async def test_a_page_is_the_seven_days_on_one_side_of_the_cursor(
    reader: LogReader, store: Store, cursor: int | None, newest_first: bool, expected: tuple[int, int]
) -> None:
    """§13.2."""
    await page(reader, cursor, newest_first=newest_first)
    assert store.window == expected


@pytest.mark.parametrize("newest_first", [True, False])
async def test_no_cursor_is_beyond_what_a_store_can_hold(reader: LogReader, store: Store, newest_first: bool) -> None:
    await page(reader, 2**63 - 1, newest_first=newest_first)
    assert all(query.end_ns < 2**63 for query in store.asked)


async def test_only_the_callers_team_is_asked_about(reader: LogReader, store: Store) -> None:
    """Another team's sandbox ID finds nothing, because its lines are another team's."""
    await reader.since(TEAM, "i1", None, 1)
    await page(reader, None, newest_first=True)
    assert {query.subject.team_id for query in store.asked} == {TEAM.team_id}


async def test_a_limit_of_nothing_asks_nobody(reader: LogReader, store: Store) -> None:
    await page(reader, None, newest_first=True, limit=0)
    assert store.asked == []


async def test_logs_that_are_off_are_said_to_be() -> None:
    with pytest.raises(InvalidError, match="logs are off"):
        await LogReader(None, lambda: NOON).since(TEAM, "i1", None, 1)
