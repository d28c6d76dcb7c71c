"""What sandboxes and teams used (rest-api contract §12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sandbank.api.core.ports import Clock
from sandbank.api.core.team import Team
from sandbank.domain.errors import DeniedError, InvalidError

MAX_SANDBOXES = 100
CONCURRENT, START_RATE = "concurrent_sandboxes", "sandbox_start_rate"

_STEPS = (
    (timedelta(hours=1), 5),
    (timedelta(hours=6), 30),
    (timedelta(hours=12), 60),
    (timedelta(hours=24), 120),
    (timedelta(days=7), 300),
)
_LONGEST_STEP = 900
_SECOND = timedelta(microseconds=999_999)  # clients cut off what they ask until: what was in that second belongs to it
_TEAM_RANGE = timedelta(days=7)
_LATEST = datetime(2299, 12, 31, tzinfo=UTC)


def step_seconds(span: timedelta) -> int:
    """How far apart points of a series are, by the length of the whole."""
    return next((step for limit, step in _STEPS if span < limit), _LONGEST_STEP)


@dataclass(frozen=True, slots=True)
class SandboxPoint:
    """What a sandbox used in one step; sizes in bytes, `cpu_percent` of all its vCPUs."""

    at: datetime
    cpu_count: int
    cpu_percent: float
    memory_used: int
    memory_total: int
    memory_cache: int
    disk_used: int
    disk_total: int


@dataclass(frozen=True, slots=True)
class TeamPoint:
    """What a team ran in one step; starts per second."""

    at: datetime
    concurrent: int
    start_rate: float


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest value of a range, and when it was."""

    at: datetime
    value: float


class MetricStore(Protocol):
    """Who remembers. Every method raises `UnavailableError` where nobody can be asked."""

    async def sandbox_range(self, team_id: str, sandbox_id: str) -> tuple[datetime, datetime] | None:
        """From the first point to the last."""

    async def sandbox_series(self, team_id: str, sandbox_id: str, start: datetime, end: datetime, step: int) -> Sequence[SandboxPoint]: ...

    async def latest(self, team_id: str, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]: ...

    async def team_series(self, team_id: str, start: datetime, end: datetime, step: int) -> Sequence[TeamPoint]: ...

    async def team_peak(self, team_id: str, metric: str, start: datetime, end: datetime, step: int) -> Peak | None: ...


def _moment(seconds: int, later: timedelta = timedelta()) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC) + later
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)


class MetricReader:
    """Answers for one team at a time: what belongs to others is not there."""

    def __init__(self, store: MetricStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def of_sandbox(self, team: Team, sandbox_id: str, start: int | None, end: int | None) -> Sequence[SandboxPoint]:
        """Oldest first, by default all there is; unix seconds. `InvalidError` for a range that cannot be."""
        now = self._clock()
        from_at = None if start is None else _moment(start)
        to_at = None if end is None else _moment(end, _SECOND)
        if (from_at is not None and from_at > now) or (from_at is not None and to_at is not None and from_at > to_at):
            raise InvalidError("Invalid time range for metrics")
        if from_at is None or to_at is None:
            known = await self._store.sandbox_range(team.team_id, sandbox_id)
            if known is None:
                return []
            from_at, to_at = from_at or known[0], to_at or known[1]
        to_at = min(to_at, now)
        if from_at > to_at:
            return []
        return await self._store.sandbox_series(team.team_id, sandbox_id, from_at, to_at, step_seconds(to_at - from_at))

    async def of_sandboxes(self, team: Team, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]:
        """The latest point of each that has any."""
        if len(sandbox_ids) > MAX_SANDBOXES:
            raise InvalidError(f"Too many sandboxes requested, maximum is {MAX_SANDBOXES}")
        return await self._store.latest(team.team_id, sandbox_ids)

    async def of_team(self, team: Team, team_id: str, start: int | None, end: int | None) -> Sequence[TeamPoint]:
        """Oldest first, by default of the last 7 days."""
        from_at, to_at = self._team_range(team, team_id, start, end)
        known_until = min(to_at, self._clock())
        if from_at > known_until:
            return []
        return await self._store.team_series(team.team_id, from_at, known_until, step_seconds(to_at - from_at))

    async def peak_of_team(self, team: Team, team_id: str, metric: str, start: int | None, end: int | None) -> Peak:
        """The highest value; 0 where there is none."""
        from_at, to_at = self._team_range(team, team_id, start, end)
        known_until, peak = min(to_at, self._clock()), None
        if from_at <= known_until:
            peak = await self._store.team_peak(team.team_id, metric, from_at, known_until, step_seconds(to_at - from_at))
        return peak if peak is not None else Peak(to_at, 0)

    def _team_range(self, team: Team, team_id: str, start: int | None, end: int | None) -> tuple[datetime, datetime]:
        if team_id != team.team_id:
            raise DeniedError(f"You ({team.team_id}) are not authorized to access this team's ({team_id}) metrics")
        to_at = self._clock() if end is None else _moment(end)
        if to_at > _LATEST:
            raise InvalidError(f"end time cannot be after {_LATEST:%Y-%m-%d}")
        from_at = to_at - _TEAM_RANGE if start is None else _moment(start)
        if from_at > to_at:
            raise InvalidError("start time cannot be after end time")
        return from_at, to_at
