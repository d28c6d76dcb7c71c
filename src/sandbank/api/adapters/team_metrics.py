"""How many sandboxes teams run and start, as rows of ClickHouse (contract templates-and-data §6.3)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 5.0
_FLUSH_SECONDS = 3.0
_COLUMNS = ("timestamp", "team_id", "metric_name", "value")


class TeamCounts(Protocol):
    """Who knows what runs."""

    async def count_teams(self) -> Mapping[str, int]: ...


class TeamMetrics:
    """Each API writes what all see running and which starts it made itself: readers take the largest of one, the sum of the other.

    Without ClickHouse it does nothing.
    """

    name = "team-metrics"

    def __init__(self, counts: TeamCounts, client: ClickHouse | None, on_error: Callable[[str, BaseException], None]) -> None:
        self._counts = counts
        self._on_error = on_error
        self._started: Counter[str] = Counter()
        self._levels = None if client is None else Batcher(client, "team_metrics_gauge", _COLUMNS)
        self._sums = None if client is None else Batcher(client, "team_metrics_sum", _COLUMNS)

    def sandbox_started(self, team_id: str) -> None:
        """One more."""
        self._started[team_id] += 1

    async def run(self) -> None:
        """Until cancelled."""
        if self._levels is None or self._sums is None:
            await asyncio.Event().wait()
            return
        await asyncio.gather(self._look(self._levels, self._sums), self._levels.run(), self._sums.run())

    async def stop(self) -> None:
        """Write what is left, as far as that goes within some seconds."""
        if self._sums is not None:
            self._note_starts(self._sums)
            with contextlib.suppress(TimeoutError, SandbankError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._sums.flush()

    async def _look(self, levels: Batcher, sums: Batcher) -> None:
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            self._note_starts(sums)
            try:
                running = await self._counts.count_teams()
            except SandbankError as error:
                self._on_error(self.name, error)
                continue
            now = time.time_ns()
            for team_id, count in running.items():
                levels.add((now, team_id, "e2b.team.sandbox.running", float(count)))

    def _note_starts(self, sums: Batcher) -> None:
        started, self._started = self._started, Counter()
        now = time.time_ns()
        for team_id, count in started.items():
            sums.add((now, team_id, "e2b.team.sandbox.created", float(count)))
