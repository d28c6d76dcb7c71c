"""What a team may read of what its sandboxes used (rest-api contract §12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sandbank.analytics.metrics import (
    MetricStore,
    Peak,
    SandboxPoint,
    TeamPoint,
    latest_points,
    moment,
    sandbox_series,
    step_seconds,
)
from sandbank.api.core.ports import Clock
from sandbank.api.core.team import Team
from sandbank.domain.errors import DeniedError, InvalidError

_TEAM_RANGE = timedelta(days=7)
_LATEST = datetime(2299, 12, 31, tzinfo=UTC)


class MetricReader:
    """Answers for one team at a time: what belongs to others is not there. `InvalidError` where metrics are off, as with logs."""

    def __init__(self, store: MetricStore | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def of_sandbox(self, team: Team, sandbox_id: str, start: int | None, end: int | None) -> Sequence[SandboxPoint]:
        """Oldest first, by default all there is; unix seconds. `InvalidError` for a range that cannot be."""
        return await sandbox_series(self._kept(), team.team_id, sandbox_id, start, end, self._clock())

    async def of_sandboxes(self, team: Team, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]:
        """The latest point of each that has any."""
        return await latest_points(self._kept(), team.team_id, sandbox_ids)

    async def of_team(self, team: Team, team_id: str, start: int | None, end: int | None) -> Sequence[TeamPoint]:
        """Oldest first, by default of the last 7 days."""
        from_at, to_at = self._team_range(team, team_id, start, end)
        store, known_until = self._kept(), min(to_at, self._clock())
        if from_at > known_until:
            return []
        return await store.team_series(team.team_id, from_at, known_until, step_seconds(to_at - from_at))

    async def peak_of_team(self, team: Team, team_id: str, metric: str, start: int | None, end: int | None) -> Peak:
        """The highest value; 0 where there is none."""
        from_at, to_at = self._team_range(team, team_id, start, end)
        store, known_until, peak = self._kept(), min(to_at, self._clock()), None
        if from_at <= known_until:
            peak = await store.team_peak(team.team_id, metric, from_at, known_until, step_seconds(to_at - from_at))
        return peak if peak is not None else Peak(to_at, 0)

    def _kept(self) -> MetricStore:
        if self._store is None:
            raise InvalidError("metrics are off: this installation has no CLICKHOUSE_CONNECTION_STRING")
        return self._store

    def _team_range(self, team: Team, team_id: str, start: int | None, end: int | None) -> tuple[datetime, datetime]:
        if team_id != team.team_id:
            raise DeniedError(f"You ({team.team_id}) are not authorized to access this team's ({team_id}) metrics")
        to_at = self._clock() if end is None else moment(end)
        if to_at > _LATEST:
            raise InvalidError(f"end time cannot be after {_LATEST:%Y-%m-%d}")
        from_at = to_at - _TEAM_RANGE if start is None else moment(start)
        if from_at > to_at:
            raise InvalidError("start time cannot be after end time")
        return from_at, to_at
