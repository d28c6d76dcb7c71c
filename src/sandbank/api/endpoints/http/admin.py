"""`/admin` without accounts (rest-api contract §17): operators only."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.endpoints.http.caller import CallingOperator, operations

router = APIRouter()


@router.post("/admin/teams/{team_id}/sandboxes/kill")
async def kill_sandboxes(request: Request, _operator: CallingOperator, team_id: str) -> Response:
    """End all that a team runs, banned or not."""
    team = await operations(request).team_selector.get(unquote(team_id))
    count = await operations(request).team_administration.kill_sandboxes(team)
    return JSONResponse({"killedCount": count.killed, "failedCount": count.failed})


@router.post("/admin/teams/{team_id}/builds/cancel")
async def cancel_builds(request: Request, _operator: CallingOperator, team_id: str) -> Response:
    """End all builds of a team's that wait or are in progress."""
    team = await operations(request).team_selector.get(unquote(team_id))
    cancelled, failed = await operations(request).build_canceller.cancel_all(team.team_id)
    return JSONResponse({"cancelledCount": cancelled, "failedCount": failed})


@router.get("/admin/sandboxes/running-counts")
async def running_counts(request: Request, _operator: CallingOperator) -> Response:
    """Running sandboxes by team; teams without any are not there."""
    return JSONResponse(dict(await operations(request).nodes.running_counts()))
