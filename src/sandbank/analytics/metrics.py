"""What sandboxes and teams used, and how it is asked for (rest-api contract §12). Sees no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sandbank.domain.errors import InvalidError

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


def moment(seconds: int, later: timedelta = timedelta()) -> datetime:
    """Unix seconds; the end of time for what is beyond it."""
    try:
        return datetime.fromtimestamp(seconds, UTC) + later
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)


async def sandbox_series(
    store: MetricStore, team_id: str, sandbox_id: str, start: int | None, end: int | None, now: datetime
) -> Sequence[SandboxPoint]:
    """Oldest first, by default all there is; unix seconds. `InvalidError` for a range that cannot be."""
    from_at = None if start is None else moment(start)
    to_at = None if end is None else moment(end, _SECOND)
    if (from_at is not None and from_at > now) or (from_at is not None and to_at is not None and from_at > to_at):
        raise InvalidError("Invalid time range for metrics")
    if from_at is None or to_at is None:
        known = await store.sandbox_range(team_id, sandbox_id)
        if known is None:
            return []
        from_at, to_at = from_at or known[0], to_at or known[1]
    to_at = min(to_at, now)
    if from_at > to_at:
        return []
    return await store.sandbox_series(team_id, sandbox_id, from_at, to_at, step_seconds(to_at - from_at))


async def latest_points(store: MetricStore, team_id: str, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]:
    """The latest point of each that has any."""
    if len(sandbox_ids) > MAX_SANDBOXES:
        raise InvalidError(f"Too many sandboxes requested, maximum is {MAX_SANDBOXES}")
    return await store.latest(team_id, sandbox_ids)
