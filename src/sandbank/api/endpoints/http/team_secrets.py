"""`/secrets` (rest-api contract §20). Whatever goes wrong is said in fixed words, see `errors`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.pagination import rfc3339
from sandbank.api.core.team_secrets import MAX_BODY_BYTES, Secret
from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import CallingTeam, operations

router = APIRouter()


@router.post("/secrets", status_code=201, openapi_extra=models.request_body(models.NewSecret))
async def create(request: Request, team: CallingTeam) -> Response:
    """A new secret."""
    sent = await body.read(request, models.NewSecret, limit_bytes=MAX_BODY_BYTES)
    return JSONResponse(_shape(await operations(request).secrets.create(team, sent.name, sent.value, sent.metadata or {})), 201)


@router.get("/secrets")
async def list_all(
    request: Request,
    team: CallingTeam,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    next_token: Annotated[str | None, Query(alias="nextToken")] = None,
) -> Response:
    """A page of the team's secrets, without their values."""
    found, following = await operations(request).secrets.page(team, limit, next_token)
    headers = {} if following is None else {"X-Next-Token": following}
    return JSONResponse([_shape(secret) for secret in found], headers=headers)


@router.get("/secrets/{secret_id}")
async def get(request: Request, team: CallingTeam, secret_id: str) -> Response:
    """One secret, by ID or name, without its value."""
    return JSONResponse(_shape(await operations(request).secrets.get(team, unquote(secret_id))))


@router.post("/secrets/{secret_id}", openapi_extra=models.request_body(models.SecretUpdate))
async def update(request: Request, team: CallingTeam, secret_id: str) -> Response:
    """A new value; metadata stays unless it is sent."""
    sent = await body.read(request, models.SecretUpdate, limit_bytes=MAX_BODY_BYTES)
    return JSONResponse(_shape(await operations(request).secrets.update(team, unquote(secret_id), sent.value, sent.metadata)))


@router.delete("/secrets/{secret_id}", status_code=204)
async def delete(request: Request, team: CallingTeam, secret_id: str) -> Response:
    """A secret with its value."""
    await operations(request).secrets.delete(team, unquote(secret_id))
    return Response(status_code=204)


def _shape(secret: Secret) -> dict[str, Any]:
    return {
        "secretID": secret.secret_id,
        "name": secret.name,
        "currentVersion": secret.version,
        "metadata": dict(secret.metadata),
        "createdAt": rfc3339(secret.created_at),
        "updatedAt": rfc3339(secret.updated_at),
    }
