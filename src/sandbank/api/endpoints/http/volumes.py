"""`/volumes` (rest-api contract §18)."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.core.volumes import Volume
from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import CallingTeam, operations

router = APIRouter()


@router.post("/volumes", status_code=201, openapi_extra=models.request_body(models.NewVolume))
async def create(request: Request, team: CallingTeam) -> Response:
    """A new volume, with a token for its files."""
    sent = await body.read(request, models.NewVolume)
    volume, token = await operations(request).volumes.create(team, sent.name)
    return JSONResponse(_opened(request, volume, token), 201)


@router.get("/volumes")
async def list_all(request: Request, team: CallingTeam) -> Response:
    """The team's volumes."""
    return JSONResponse([_shape(volume) for volume in await operations(request).volumes.list(team)])


@router.get("/volumes/{volume_id}")
async def get(request: Request, team: CallingTeam, volume_id: str) -> Response:
    """One volume, with a fresh token."""
    volume, token = await operations(request).volumes.get(team, unquote(volume_id))
    return JSONResponse(_opened(request, volume, token))


@router.delete("/volumes/{volume_id}", status_code=204)
async def delete(request: Request, team: CallingTeam, volume_id: str) -> Response:
    """A volume with all it holds."""
    await operations(request).volumes.delete(team, unquote(volume_id))
    return Response(status_code=204)


def _shape(volume: Volume) -> dict[str, Any]:
    return {"volumeID": volume.volume_id, "name": volume.name}


def _opened(request: Request, volume: Volume, token: str) -> dict[str, Any]:
    # The domain is where clients find the content API that have no address of it themselves.
    domain: str | None = request.app.state.domain
    return _shape(volume) | {"token": token} | ({} if domain is None else {"domain": domain})
