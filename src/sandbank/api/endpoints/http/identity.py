"""What checks workload tokens; anybody may have it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.endpoints.http.caller import operations

router = APIRouter()


@router.get("/.well-known/openid-configuration")
async def discovery(request: Request) -> Response:
    """Where the keys are (OpenID Connect Discovery)."""
    return JSONResponse(dict(operations(request).identity.discovery()))


@router.get("/.well-known/jwks.json")
async def key_set(request: Request) -> Response:
    """The keys (RFC 7517)."""
    return JSONResponse(dict(operations(request).identity.key_set()))
