"""`/access-tokens` (REST contract §16.3): for those whom the identity provider vouches for."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbank.api.endpoints.http import account_shapes, body, models
from sandbank.api.endpoints.http.caller import IdentifiedUser, operations
from sandbank.api.endpoints.http.errors import error_response

router = APIRouter()


@router.post("/access-tokens", status_code=201, openapi_extra=models.request_body(models.Named))
async def create(request: Request, user_id: IdentifiedUser) -> Response:
    """A new token, told once; 410 where the operator has none made."""
    tokens = operations(request).access_tokens
    if not tokens.is_provisioned:
        return error_response(410, "Access tokens are not provisioned any more")
    sent = await body.read(request, models.Named)
    token, raw = await tokens.create(user_id, sent.name)
    return JSONResponse(account_shapes.created_access_token(token, raw), 201)


@router.delete("/access-tokens/{token_id}", status_code=204)
async def delete(request: Request, user_id: IdentifiedUser, token_id: str) -> Response:
    """The token is worth nothing from now on."""
    await operations(request).access_tokens.delete(user_id, unquote(token_id))
    return Response(status_code=204)
