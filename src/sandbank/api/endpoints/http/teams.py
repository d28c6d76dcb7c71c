"""`/teams` and `/health` (REST contract §7, §16.1)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from sandbank.api.endpoints.http.caller import CallingUser, operations

router = APIRouter()


@router.get("/teams")
async def list_teams(request: Request, user_id: CallingUser) -> Response:
    """The caller's teams, each with a new API key."""
    teams = await operations(request).teams.list(user_id)
    return JSONResponse(
        [{"teamID": team.team_id, "name": team.name, "apiKey": team.api_key, "isDefault": team.is_default} for team in teams]
    )


@router.get("/health")
async def health(request: Request) -> Response:
    """Whether there is a node. Tests compare the text."""
    if operations(request).readiness.is_ready():
        return PlainTextResponse("Health check successful")
    return PlainTextResponse("Service is unavailable", 503)
