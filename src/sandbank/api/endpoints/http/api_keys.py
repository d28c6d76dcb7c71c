"""`/api-keys` (REST contract §16.2): members and operators only. An API key cannot make another, nor see them."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.endpoints.http import account_shapes, body, models
from sandbank.api.endpoints.http.caller import CallingManager, CallingMember, operations

router = APIRouter()


@router.get("/api-keys")
async def list_keys(request: Request, manager: CallingManager) -> Response:
    """The team's keys, masked."""
    return JSONResponse([account_shapes.api_key(key) for key in await operations(request).api_keys.list(manager.team)])


@router.post("/api-keys", status_code=201, openapi_extra=models.request_body(models.Named))
async def create(request: Request, member: CallingMember) -> Response:
    """A new key, told once."""
    sent = await body.read(request, models.Named)
    key, raw = await operations(request).api_keys.create(member.team, member.user_id, sent.name)
    return JSONResponse(account_shapes.created_api_key(key, raw), 201)


@router.patch("/api-keys/{key_id}", status_code=202, openapi_extra=models.request_body(models.Named))
async def rename(request: Request, manager: CallingManager, key_id: str) -> Response:
    """Another name."""
    sent = await body.read(request, models.Named)
    await operations(request).api_keys.rename(manager.team, unquote(key_id), sent.name)
    return Response(status_code=202)


@router.delete("/api-keys/{key_id}", status_code=204)
async def delete(request: Request, manager: CallingManager, key_id: str) -> Response:
    """The key is worth nothing from now on."""
    await operations(request).api_keys.delete(manager.team, unquote(key_id))
    return Response(status_code=204)
