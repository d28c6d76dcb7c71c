"""Metrics of sandboxes and teams (rest-api contract §12)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.analytics.metrics import SandboxPoint
from sandbank.api.endpoints.http.caller import CallingTeam, operations, sandbox_id_of
from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import parse_sandbox_id

router = APIRouter()

Seconds = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


@router.get("/sandboxes/metrics")
async def latest(request: Request, team: CallingTeam, sandbox_ids: str) -> Response:
    """The newest point of each sandbox that has any."""
    asked = sandbox_ids.split(",")
    if len(set(asked)) != len(asked):
        raise InvalidError('validation error: parameter "sandbox_ids" in query has an error: duplicate items')
    found = await operations(request).metrics.of_sandboxes(team, [parse_sandbox_id(one) for one in asked])
    return JSONResponse({"sandboxes": {sandbox_id: _sandbox_shape(point) for sandbox_id, point in found.items()}})


@router.get("/sandboxes/{sandbox_id}/metrics")
async def of_sandbox(request: Request, team: CallingTeam, sandbox_id: str, start: Seconds = None, end: Seconds = None) -> Response:
    """Oldest first; a sandbox that nobody knows has no points and is no error."""
    points = await operations(request).metrics.of_sandbox(team, sandbox_id_of(sandbox_id), start, end)
    return JSONResponse([_sandbox_shape(point) for point in points])


@router.get("/teams/{team_id}/metrics")
async def of_team(request: Request, team: CallingTeam, team_id: str, start: Seconds = None, end: Seconds = None) -> Response:
    """Sandboxes at a time and starts per second."""
    points = await operations(request).metrics.of_team(team, unquote(team_id), start, end)
    return JSONResponse(
        [
            {
                "timestamp": point.at.isoformat().replace("+00:00", "Z"),
                "timestampUnix": int(point.at.timestamp()),
                "concurrentSandboxes": point.concurrent,
                "sandboxStartRate": point.start_rate,
            }
            for point in points
        ]
    )


@router.get("/teams/{team_id}/metrics/max")
async def peak_of_team(
    request: Request,
    team: CallingTeam,
    team_id: str,
    metric: Annotated[str, Query(pattern="^(concurrent_sandboxes|sandbox_start_rate)$")],
    start: Seconds = None,
    end: Seconds = None,
) -> Response:
    """The highest value of a range."""
    peak = await operations(request).metrics.peak_of_team(team, unquote(team_id), metric, start, end)
    return JSONResponse(
        {"timestamp": peak.at.isoformat().replace("+00:00", "Z"), "timestampUnix": int(peak.at.timestamp()), "value": peak.value}
    )


def _sandbox_shape(point: SandboxPoint) -> dict[str, Any]:
    return {
        "timestamp": point.at.isoformat().replace("+00:00", "Z"),
        "timestampUnix": int(point.at.timestamp()),
        "cpuCount": point.cpu_count,
        "cpuUsedPct": point.cpu_percent,
        "memUsed": point.memory_used,
        "memTotal": point.memory_total,
        "memCache": point.memory_cache,
        "diskUsed": point.disk_used,
        "diskTotal": point.disk_total,
    }
