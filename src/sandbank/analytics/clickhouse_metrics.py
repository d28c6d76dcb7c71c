"""Metrics in ClickHouse (contract templates-and-data §4, the queries that E2B's API runs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbank.analytics.clickhouse_queries import Querier
from sandbank.analytics.metrics import START_RATE, Peak, SandboxPoint, TeamPoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAMES = ("cpu.total", "cpu.used", "ram.used", "ram.total", "ram.cache", "disk.used", "disk.total")
_LARGEST = ", ".join(f"maxIf(value, metric_name = 'e2b.sandbox.{name}')" for name in _NAMES)
_NEWEST = ", ".join(f"argMaxIf(value, timestamp, metric_name = 'e2b.sandbox.{name}')" for name in _NAMES)
_RANGE = "timestamp >= fromUnixTimestamp64Micro({start:Int64}) AND timestamp <= fromUnixTimestamp64Micro({end:Int64})"
_BUCKET = "toUnixTimestamp(toStartOfInterval(timestamp, toIntervalSecond({step:UInt32})))"
_ONE_SANDBOX = "team_id = {team:String} AND sandbox_id = {sandbox:String}"
_ONE_TEAM = "team_id = {team:String} AND metric_name = {metric:String}"
_RUNNING, _CREATED = "e2b.team.sandbox.running", "e2b.team.sandbox.created"

_SPAN = f"SELECT count(), toUnixTimestamp64Micro(min(timestamp)), toUnixTimestamp64Micro(max(timestamp)) FROM sandbox_metrics_gauge WHERE {_ONE_SANDBOX}"  # noqa: E501, S608
_SERIES = f"SELECT {_BUCKET} AS at, {_LARGEST} FROM sandbox_metrics_gauge WHERE {_ONE_SANDBOX} AND {_RANGE} GROUP BY at ORDER BY at"  # noqa: S608
_LATEST = (
    f"SELECT sandbox_id, toUnixTimestamp(max(timestamp)), {_NEWEST} FROM sandbox_metrics_gauge"  # noqa: S608
    " WHERE team_id = {team:String} AND sandbox_id IN {sandboxes:Array(String)} GROUP BY sandbox_id"
)
_LEVELS = f"SELECT {_BUCKET} AS at, max(value) FROM team_metrics_gauge WHERE {_ONE_TEAM} AND {_RANGE} GROUP BY at"  # noqa: S608
_STARTS = f"SELECT {_BUCKET} AS at, sum(value) FROM team_metrics_sum WHERE {_ONE_TEAM} AND {_RANGE} GROUP BY at"  # noqa: S608
_HIGHEST_LEVEL = (
    f"SELECT count(), toUnixTimestamp(argMax(timestamp, value)), max(value) FROM team_metrics_gauge WHERE {_ONE_TEAM} AND {_RANGE}"  # noqa: S608
)
_FASTEST = f"SELECT count(), argMax(at, total), max(total) FROM (SELECT {_BUCKET} AS at, sum(value) AS total FROM team_metrics_sum WHERE {_ONE_TEAM} AND {_RANGE} GROUP BY at)"  # noqa: E501, S608


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _point(at: int, values: Sequence[Any]) -> SandboxPoint:
    cpus, percent, memory_used, memory_total, memory_cache, disk_used, disk_total = values
    return SandboxPoint(
        _at(at),
        int(cpus),
        round(float(percent), 2),
        int(memory_used),
        int(memory_total),
        int(memory_cache),
        int(disk_used),
        int(disk_total),
    )


class MetricRepo:
    """Implements `sandbank.analytics.metrics.MetricStore`."""

    def __init__(self, client: Querier) -> None:
        self._client = client

    async def sandbox_range(self, team_id: str, sandbox_id: str) -> tuple[datetime, datetime] | None:
        """See `MetricStore.sandbox_range`."""
        ((count, first, last),) = await self._client.query(_SPAN, {"team": team_id, "sandbox": sandbox_id})
        # Points may be finer than microseconds: the last one has to be within the range.
        return (_EPOCH + first * _MICROSECOND, _EPOCH + (last + 1) * _MICROSECOND) if count else None

    async def sandbox_series(self, team_id: str, sandbox_id: str, start: datetime, end: datetime, step: int) -> Sequence[SandboxPoint]:
        """See `MetricStore.sandbox_series`."""
        rows = await self._client.query(_SERIES, {"team": team_id, "sandbox": sandbox_id, **_bounds(start, end, step)})
        return [_point(at, values) for at, *values in rows]

    async def latest(self, team_id: str, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]:
        """See `MetricStore.latest`."""
        rows = await self._client.query(_LATEST, {"team": team_id, "sandboxes": list(sandbox_ids)})
        return {sandbox_id: _point(at, values) for sandbox_id, at, *values in rows}

    async def team_series(self, team_id: str, start: datetime, end: datetime, step: int) -> Sequence[TeamPoint]:
        """See `MetricStore.team_series`."""
        bounds = _bounds(start, end, step)
        levels = dict(await self._client.query(_LEVELS, {"team": team_id, "metric": _RUNNING, **bounds}))
        starts = dict(await self._client.query(_STARTS, {"team": team_id, "metric": _CREATED, **bounds}))
        return [TeamPoint(_at(at), int(levels.get(at, 0)), starts.get(at, 0) / step) for at in sorted(levels.keys() | starts.keys())]

    async def team_peak(self, team_id: str, metric: str, start: datetime, end: datetime, step: int) -> Peak | None:
        """See `MetricStore.team_peak`."""
        bounds = _bounds(start, end, step)
        if metric == START_RATE:
            ((count, at, value),) = await self._client.query(_FASTEST, {"team": team_id, "metric": _CREATED, **bounds})
            return Peak(_at(at), value / step) if count else None
        ((count, at, value),) = await self._client.query(_HIGHEST_LEVEL, {"team": team_id, "metric": _RUNNING, **bounds})
        return Peak(_at(at), float(value)) if count else None


def _bounds(start: datetime, end: datetime, step: int) -> dict[str, int]:
    return {"start": (start - _EPOCH) // _MICROSECOND, "end": (end - _EPOCH) // _MICROSECOND, "step": step}
