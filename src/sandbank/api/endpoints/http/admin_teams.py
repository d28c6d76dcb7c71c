"""`/admin/teams/{teamID}/api-keys` (REST contract §17): operators make keys for teams."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.team import require_allowed
from sandbank.api.endpoints.http import account_shapes, body, models
from sandbank.api.endpoints.http.caller import CallingOperator, operations
from sandbank.domain.errors import NotFoundError

router = APIRouter()


@router.post("/admin/teams/{team_id}/api-keys", status_code=201, openapi_extra=models.request_body(models.Named))
async def create(request: Request, _operator: CallingOperator, team_id: str) -> Response:
    """A new key for a team that may use one."""
    sent = await body.read(request, models.Named)
    team = await operations(request).team_selector.get(unquote(team_id))
    require_allowed(team, request.method, request.scope["route"].path)
    key, raw = await operations(request).api_keys.create(team, None, sent.name)
    return JSONResponse(account_shapes.created_api_key(key, raw), 201)


@router.delete("/admin/teams/{team_id}/api-keys/{key_id}", status_code=204)
async def delete(request: Request, _operator: CallingOperator, team_id: str, key_id: str) -> Response:
    """Take a team's key away; a banned team's, too."""
    team = await operations(request).team_selector.get(unquote(team_id))
    try:
        await operations(request).api_keys.delete(team, unquote(key_id))
    except NotFoundError as error:
        raise NotFoundError("API key not found") from error
    return Response(status_code=204)
