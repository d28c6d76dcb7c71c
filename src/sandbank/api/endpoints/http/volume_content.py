"""`/volumecontent`: the files of a volume, for whoever has its token (rest-api contract §19). Errors are `{code: TEXT, message}`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from sandbank.api.core.pagination import rfc3339
from sandbank.api.core.volume_content import Entry, Ownership
from sandbank.api.endpoints.http import body, models
from sandbank.api.endpoints.http.caller import operations
from sandbank.domain.errors import InvalidError, SandbankError, UnauthenticatedError
from sandbank.domain.volume import VolumeFileTarget
from sandbank.servicekit.http_status import status_of

router = APIRouter()

_MOST = 2**32 - 1
_WORDS = {400: "INVALID_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "PATH_NOT_FOUND", 409: "PATH_ALREADY_EXISTS"}

Handler = Callable[[Request, str], Awaitable[Response]]


def _speaking_codes(handler: Handler) -> Handler:
    @wraps(handler)
    async def answer(request: Request, volume_id: str) -> Response:
        try:
            return await handler(request, volume_id)
        except SandbankError as error:
            status = 507 if error.message == "the volume is full" else status_of(error)
            code = error.error_code or _WORDS.get(status, "INTERNAL")
            return JSONResponse({"code": code, "message": error.message}, status)

    return answer


async def _target(request: Request, volume_id: str) -> VolumeFileTarget:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("the volume's token is missing")
    volume = await operations(request).volume_content.open(token, unquote(volume_id))
    path = request.query_params.get("path")
    if path is None:
        raise InvalidError("query parameter 'path' is required")
    return VolumeFileTarget(volume.volume_id, volume.kind, volume.team_id, path)


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:11]) > _MOST:
        raise InvalidError(f"query parameter '{name}' must be a number up to {_MOST}")
    return int(text)


def _ownership(request: Request) -> Ownership:
    return Ownership(_number(request, "mode"), _number(request, "uid"), _number(request, "gid"))


def _forced(request: Request) -> bool:
    return request.query_params.get("force", "").lower() in ("true", "1")


@router.get("/volumecontent/{volume_id}/path")
@_speaking_codes
async def stat(request: Request, volume_id: str) -> Response:
    """What something is; a link itself."""
    return JSONResponse(_shape(await operations(request).volume_content.stat(await _target(request, volume_id))))


@router.patch("/volumecontent/{volume_id}/path")
@_speaking_codes
async def change(request: Request, volume_id: str) -> Response:
    """Mode and owner."""
    target = await _target(request, volume_id)
    sent = await body.read(request, models.VolumeEntryChange)
    entry = await operations(request).volume_content.change(target, Ownership(sent.mode, sent.uid, sent.gid))
    return JSONResponse(_shape(entry))


@router.delete("/volumecontent/{volume_id}/path", status_code=204)
@_speaking_codes
async def remove(request: Request, volume_id: str) -> Response:
    """A file, or a directory with all it holds."""
    await operations(request).volume_content.remove(await _target(request, volume_id))
    return Response(status_code=204)


@router.get("/volumecontent/{volume_id}/dir")
@_speaking_codes
async def list_directory(request: Request, volume_id: str) -> Response:
    """Everything below, down to a depth."""
    target, depth = await _target(request, volume_id), _number(request, "depth")
    entries = await operations(request).volume_content.list(target, 1 if depth is None else depth)
    return await asyncio.to_thread(lambda: JSONResponse([_shape(entry) for entry in entries]))


@router.post("/volumecontent/{volume_id}/dir", status_code=201)
@_speaking_codes
async def make_directory(request: Request, volume_id: str) -> Response:
    """A directory; with `force` its parents, too."""
    target = await _target(request, volume_id)
    entry = await operations(request).volume_content.make_directory(target, _ownership(request), parents=_forced(request))
    return JSONResponse(_shape(entry), 201)


@router.get("/volumecontent/{volume_id}/file")
@_speaking_codes
async def read_file(request: Request, volume_id: str) -> Response:
    """A file's content."""
    size, content = await operations(request).volume_content.read(await _target(request, volume_id))
    return StreamingResponse(content, media_type="application/octet-stream", headers={"content-length": str(size)})


@router.put("/volumecontent/{volume_id}/file", status_code=201)
@_speaking_codes
async def write_file(request: Request, volume_id: str) -> Response:
    """A file's content, there as a whole or not at all."""
    target, ownership = await _target(request, volume_id), _ownership(request)
    content: AsyncIterator[bytes] = request.stream()
    try:
        entry = await operations(request).volume_content.write(target, ownership, content, force=_forced(request))
    except ClientDisconnect as error:
        raise InvalidError("the upload broke off") from error
    return JSONResponse(_shape(entry), 201)


def _shape(entry: Entry) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "name": entry.name,
        "type": entry.kind,
        "path": entry.path,
        "size": entry.size,
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "atime": rfc3339(entry.accessed_at),
        "mtime": rfc3339(entry.modified_at),
        "ctime": rfc3339(entry.changed_at),
    }
    if entry.target is not None:
        shape["target"] = entry.target
    return shape
