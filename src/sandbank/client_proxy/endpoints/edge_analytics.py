"""Logs and metrics for a control plane elsewhere, which says itself whose they are (contract data-plane §8.3, §8.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sandbank.analytics.metrics import MetricStore, SandboxPoint, latest_points, sandbox_series
from sandbank.client_proxy.endpoints.edge_message import Answer, Request, json_answer
from sandbank.client_proxy.endpoints.edge_query import BuildLogs, LatestMetrics, SandboxLogs, SandboxMetrics, read_query
from sandbank.client_proxy.endpoints.edge_router import Route
from sandbank.client_proxy.endpoints.edge_shapes import time_shape
from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.domain.identifiers import parse_sandbox_id
from sandbank.domain.log_query import LogEntry, LogQuery, LogStore
from sandbank.domain.log_record import TEMPLATE_MANAGER, LogSubject, rfc3339_nano

_AT_ONCE = 8  # an answer takes tens of megabytes while it is put together
_MAX_LINES = 5000  # Loki's own default
_NS_PER_MS = 1_000_000
_WINDOW_MS = timedelta(days=7) // timedelta(milliseconds=1)
_LAST_MS = (2**63 - 1) // _NS_PER_MS

Parameters = Mapping[str, str]


class EdgeAnalytics:
    """Reads from the stores that the API reads from. A store that is None is not configured: `UnavailableError`."""

    def __init__(self, logs: LogStore | None, metrics: MetricStore | None, clock: Callable[[], datetime]) -> None:
        self._logs = logs
        self._metrics = metrics
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> tuple[Route, ...]:
        """What is answered."""
        return (
            Route("/v1/sandboxes/metrics", {"GET": self._latest}),
            Route("/v1/sandboxes/{sandbox_id}/logs", {"GET": self._sandbox_logs}),
            Route("/v1/sandboxes/{sandbox_id}/metrics", {"GET": self._sandbox_metrics}),
            Route("/v1/templates/builds/{build_id}/logs", {"GET": self._build_logs}),
        )

    async def _sandbox_logs(self, request: Request, parameters: Parameters) -> Answer:
        asked = read_query(request, SandboxLogs)
        start_ns, end_ns = self._window(asked.start, asked.end)
        query = LogQuery(
            LogSubject(str(asked.team_id), parse_sandbox_id(parameters["sandbox_id"])),
            start_ns,
            end_ns,
            min(asked.limit, _MAX_LINES),
            newest_first=asked.direction == "backward",
            min_level=asked.level,
            search=asked.search,
        )
        async with self._turns:
            entries = await self._find(query)
            lines = [{"timestamp": rfc3339_nano(entry.timestamp_ns), "line": entry.line} for entry in entries]
            shapes = [_common(entry) | {"fields": dict(entry.fields)} for entry in entries]
            return json_answer({"logs": lines, "logEntries": shapes})

    async def _build_logs(self, request: Request, parameters: Parameters) -> Answer:
        asked = read_query(request, BuildLogs)
        start_ns, end_ns = self._window(asked.start, asked.end)
        query = LogQuery(
            LogSubject("", template_id=asked.template_id, build_id=parameters["build_id"]),
            start_ns,
            end_ns,
            asked.offset + asked.limit if asked.limit else 0,
            newest_first=asked.direction == "backward",
            min_level=asked.level,
            service=TEMPLATE_MANAGER,
        )
        async with self._turns:
            entries = (await self._find(query))[asked.offset :]
            lines = [f"[{rfc3339_nano(entry.timestamp_ns)}] {entry.message}\n" for entry in entries]
            return json_answer({"logs": lines, "logEntries": [_build_shape(entry) for entry in entries]})

    async def _sandbox_metrics(self, request: Request, parameters: Parameters) -> Answer:
        asked = read_query(request, SandboxMetrics)
        sandbox_id = parse_sandbox_id(parameters["sandbox_id"])
        async with self._turns:
            points = await sandbox_series(self._measured(), str(asked.team_id), sandbox_id, asked.start, asked.end, self._clock())
            return json_answer([_point_shape(point) for point in points])

    async def _latest(self, request: Request, parameters: Parameters) -> Answer:
        asked = read_query(request, LatestMetrics)
        sandbox_ids = list(dict.fromkeys(parse_sandbox_id(one) for one in asked.sandbox_ids.split(",")))
        async with self._turns:
            found = await latest_points(self._measured(), str(asked.team_id), sandbox_ids)
            return json_answer({"sandboxes": {sandbox_id: _point_shape(point) for sandbox_id, point in found.items()}})

    async def _find(self, query: LogQuery) -> Sequence[LogEntry]:
        if self._logs is None:
            raise UnavailableError("logs are off: this client proxy has neither LOKI_URL nor CLICKHOUSE_CONNECTION_STRING")
        return await self._logs.find(query) if query.limit and query.start_ns < query.end_ns else []

    def _measured(self) -> MetricStore:
        if self._metrics is None:
            raise UnavailableError("metrics are off: this client proxy has no CLICKHOUSE_CONNECTION_STRING")
        return self._metrics

    def _window(self, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
        """Nanoseconds: until now and a week at most, as at the API (rest-api contract §13)."""
        if start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise InvalidError("Invalid time range for logs")
        end = int(self._clock().timestamp() * 1000) + 1 if end_ms is None else min(end_ms, _LAST_MS)
        return max(start_ms or 0, end - _WINDOW_MS, 0) * _NS_PER_MS, end * _NS_PER_MS


def _common(entry: LogEntry) -> dict[str, Any]:
    return {"timestamp": rfc3339_nano(entry.timestamp_ns), "level": entry.level, "message": entry.message}


def _build_shape(entry: LogEntry) -> dict[str, Any]:
    step = entry.fields.get("step")
    return _common(entry) if step is None else _common(entry) | {"step": step}


def _point_shape(point: SandboxPoint) -> dict[str, Any]:
    return {
        "timestamp": time_shape(point.at),
        "timestamp_unix": int(point.at.timestamp()),
        "cpu_used_pct": point.cpu_percent,
        "cpu_count": point.cpu_count,
        "mem_total": point.memory_total,
        "mem_used": point.memory_used,
        "mem_cache": point.memory_cache,
        "disk_total": point.disk_total,
        "disk_used": point.disk_used,
    }
