"""Archives of files for COPY steps (rest-api contract §14.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from sandbank.api.core.builders import UploadLink
from sandbank.api.endpoints.http.caller import TemplateCalling, operations
from sandbank.api.endpoints.http.errors import error_response
from sandbank.domain.errors import DeadlineError, InvalidError

router = APIRouter()

_OTHERS = ["GET", "HEAD", "POST", "PATCH", "DELETE"]
_MOST_DIGITS = 18
_PIECE_SECONDS = 30.0


@router.get("/templates/{template_id}/files/{hash}", status_code=201)
async def offer(request: Request, caller: TemplateCalling, template_id: str, hash: str) -> Response:  # noqa: A002  # the wire's name
    """Where an archive may be put, and whether it is there already."""
    offered = await operations(request).template_files.offer(caller, unquote(template_id), unquote(hash))
    url = offered.url if not offered.url.startswith("/") else f"{_own_address(request)}{offered.url}"
    shape: dict[str, Any] = {"present": offered.present}
    return JSONResponse(shape | ({"url": url} if url else {}), 201)


@router.put("/upload", include_in_schema=False)
async def upload(request: Request) -> Response:
    """Take an archive from whoever has a link; clients send its length and no credentials."""
    size_bytes = _number(request.headers.get("content-length"), "the archive's Content-Length is required")
    query = request.query_params
    path, token = query.get("path"), query.get("token")
    if not path or not token:
        raise InvalidError("missing parameters")
    link = UploadLink(query.get("node", ""), path, _number(query.get("expires"), "missing parameters"), token)
    try:
        await operations(request).template_files.upload(link, size_bytes, _pieces(request))
    except ClientDisconnect as error:
        raise InvalidError("the upload broke off") from error
    return Response(status_code=200)


@router.api_route("/upload", methods=_OTHERS, include_in_schema=False)
async def refuse() -> Response:
    """Links are for uploads only."""
    return error_response(405, "method not allowed")


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    # Whether a link is good shows only when something is sent on: nobody holds a connection open with a bad one.
    pieces: AsyncIterator[bytes] = request.stream()
    while True:
        try:
            async with asyncio.timeout(_PIECE_SECONDS):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise DeadlineError("the archive took too long to arrive") from error
        if piece is None:
            return
        yield piece


def _own_address(request: Request) -> str:
    """This API's, as the client that asks knows it: by name it is reached through the proxy, where clients speak TLS."""
    if request.app.state.upload_base_url is not None:
        address: str = request.app.state.upload_base_url
        return address.rstrip("/")
    host = request.headers.get("host", "")
    by_name = request.app.state.domain is not None and _name(host) == f"api.{_name(request.app.state.domain)}"
    scheme = request.headers.get("x-forwarded-proto", "https" if by_name else "http")
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


def _name(host: str) -> str:
    return host.partition(":")[0].lower()


def _number(text: str | None, otherwise: str) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise InvalidError(otherwise)
    return int(text)
