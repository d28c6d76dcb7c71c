"""What clients may read of logs, and from when to when (rest-api contract §13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sandbank.api.core.ports import Clock
from sandbank.api.core.team import Team
from sandbank.domain.errors import InvalidError
from sandbank.domain.log_query import LogEntry, LogQuery, LogStore
from sandbank.domain.log_record import LogSubject

WINDOW = timedelta(days=7)
DEFAULT_LIMIT = 1000
MAX_LIMIT_V1 = 5000
"""Loki's own default; clients ask again from the last line on."""

_NS_PER_MS = 1_000_000
# A week before nanoseconds leave 64 bits, in the year 2262.
_MAX_CURSOR_MS = (2**63 - 1) // _NS_PER_MS - 7 * 24 * 3600 * 1000


class LogReader:
    """Reads the logs of a team's sandboxes, whether they still run or not. Unknown ones and other teams' have none."""

    def __init__(self, store: LogStore | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def since(self, team: Team, sandbox_id: str, start_ms: int | None, limit: int) -> Sequence[LogEntry]:
        """Oldest first, from `start_ms` until now but of the last 7 days at most (§13.1). `InvalidError` where logs are off."""
        end_ms = _ms(self._clock())
        first_ms = end_ms - _ms_of(WINDOW)
        start_ms = first_ms if start_ms is None else max(start_ms, first_ms)
        return await self._find(team, sandbox_id, start_ms, end_ms, limit=min(limit, MAX_LIMIT_V1))

    async def page(
        self, team: Team, sandbox_id: str, cursor_ms: int | None, limit: int, *, newest_first: bool, min_level: str | None, search: str
    ) -> Sequence[LogEntry]:
        """The 7 days before the cursor, newest first, or those after it (§13.2). `InvalidError` where logs are off."""
        start_ms, end_ms = _window(self._clock(), cursor_ms, newest_first=newest_first)
        return await self._find(
            team, sandbox_id, start_ms, end_ms, limit=limit, newest_first=newest_first, min_level=min_level, search=search
        )

    async def _find(
        self,
        team: Team,
        sandbox_id: str,
        start_ms: int,
        end_ms: int,
        *,
        limit: int,
        newest_first: bool = False,
        min_level: str | None = None,
        search: str = "",
    ) -> Sequence[LogEntry]:
        if self._store is None:
            raise InvalidError("logs are off: this installation has neither LOKI_URL nor CLICKHOUSE_CONNECTION_STRING")
        if limit == 0 or start_ms >= end_ms:
            return []
        query = LogQuery(
            LogSubject(team.team_id, sandbox_id),
            start_ms * _NS_PER_MS,
            end_ms * _NS_PER_MS,
            limit,
            newest_first=newest_first,
            min_level=min_level,
            search=search,
        )
        return await self._store.find(query)


def page_window(now: datetime, cursor_ms: int | None, *, newest_first: bool) -> tuple[int, int]:
    """The 7 days before the cursor or behind it, in nanoseconds, the end exclusive."""
    start_ms, end_ms = _window(now, cursor_ms, newest_first=newest_first)
    return start_ms * _NS_PER_MS, end_ms * _NS_PER_MS


def _window(now: datetime, cursor_ms: int | None, *, newest_first: bool) -> tuple[int, int]:
    now_ms = _ms(now)
    if newest_first:
        end_ms = now_ms if cursor_ms is None else min(cursor_ms, _MAX_CURSOR_MS)
        return max(end_ms - _ms_of(WINDOW), 0), end_ms
    start_ms = now_ms - _ms_of(WINDOW) if cursor_ms is None else min(cursor_ms, _MAX_CURSOR_MS)
    return start_ms, start_ms + _ms_of(WINDOW)


def _ms(moment: datetime) -> int:
    """The first whole millisecond that is not before `moment`, so that what was written just now is before it."""
    return int(moment.timestamp() * 1000) + 1


def _ms_of(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
