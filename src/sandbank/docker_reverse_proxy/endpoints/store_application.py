"""The image store as a registry (OCI distribution specification 1.1, Docker Registry HTTP API V2): what pushing and pulling need of it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from sandbank.docker_reverse_proxy.core.images import REPOSITORY
from sandbank.docker_reverse_proxy.core.ports import Images, StoredBlob, Uploads
from sandbank.docker_reverse_proxy.endpoints.store_http import ClientGoneError, Header, StoreRequest
from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError, SandbankError, UnauthenticatedError

_PATH = re.compile(rf"/v2/({REPOSITORY})/(?:(blobs)/(?!uploads)([^/]+)|(manifests)/([^/]+)|blobs/(uploads)/?([^/]*))")
_MANIFEST_BYTES = 4 * 2**20
_PIECE_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?")

Handler = Callable[[StoreRequest, str, str], Awaitable[None]]

logger = structlog.get_logger(__name__)


class StoreApplication:
    """An ASGI application for whoever knows `username` and `password`: the proxy in front, and the builder of templates."""

    def __init__(self, images: Images, uploads: Uploads, username: str, password: str) -> None:
        self._images = images
        self._uploads = uploads
        self._authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "blobs"): self._get_blob,
            ("HEAD", "blobs"): self._get_blob,
            ("GET", "manifests"): self._get_manifest,
            ("HEAD", "manifests"): self._get_manifest,
            ("PUT", "manifests"): self._put_manifest,
            ("POST", "uploads"): self._start_upload,
            ("GET", "uploads"): self._show_upload,
            ("PATCH", "uploads"): self._append,
            ("PUT", "uploads"): self._complete,
            ("DELETE", "uploads"): self._cancel,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        request = StoreRequest(scope, receive, send)
        try:
            await self._respond(request)
        except ClientGoneError:
            return
        except SandbankError as error:
            if not request.begun:
                await request.fail(error)
        except OSError as error:
            logger.error("the image store failed", path=request.path, error=str(error))
            if request.begun:
                raise  # so that the client sees the answer break off
            await request.answer(500)

    async def _respond(self, request: StoreRequest) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), self._authorization.encode("latin-1")):
            raise UnauthenticatedError("the image store is for Sandbank itself")
        if request.path == "/v2/":
            await request.answer(200)
            return
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise NotFoundError("there is nothing here", error_code="NAME_INVALID")
        kind = match[2] or match[4] or match[6]
        handler = self._handlers.get((request.method, kind))
        if handler is None:
            await request.answer(405)
            return
        await handler(request, match[1], match[3] or match[5] or match[7] or "")

    async def _get_blob(self, request: StoreRequest, repository: str, digest: str) -> None:
        blob = await self._images.get_blob(repository, digest)
        headers = [
            (b"docker-content-digest", digest.encode()),
            (b"content-type", b"application/octet-stream"),
            (b"accept-ranges", b"bytes"),
        ]
        if request.method == "HEAD":
            await request.answer(200, headers, size_bytes=blob.size_bytes)
            return
        first, last, status = 0, blob.size_bytes - 1, 200
        if request.byte_range is not None:
            first, wanted = request.byte_range
            last = last if wanted is None else min(wanted, last)
            if first > last:
                raise ConflictError(f"the blob has {blob.size_bytes} bytes", error_code="RANGE_INVALID")
            status = 206
            headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, blob.size_bytes)))
        await self._send_file(request, blob, (status, headers), first, last + 1)

    @staticmethod
    async def _send_file(request: StoreRequest, blob: StoredBlob, head: tuple[int, list[Header]], first: int, end: int) -> None:
        with await asyncio.to_thread(blob.path.open, "rb") as file:
            await request.begin(head[0], [*head[1], (b"content-length", b"%d" % (end - first))])
            await asyncio.to_thread(file.seek, first)
            left = end - first
            while left:
                piece = await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))
                if not piece:
                    raise OSError(f"{blob.path} is shorter than it was")
                left -= len(piece)
                await request.send(piece, more=left > 0)
            if end == first:
                await request.send(b"", more=False)

    async def _get_manifest(self, request: StoreRequest, repository: str, reference: str) -> None:
        manifest = await self._images.get_manifest(repository, reference)
        headers = [(b"docker-content-digest", manifest.digest.encode()), (b"content-type", manifest.media_type.encode())]
        if request.method == "HEAD":
            await request.answer(200, headers, size_bytes=len(manifest.content))
        else:
            await request.answer(200, headers, manifest.content)

    async def _put_manifest(self, request: StoreRequest, repository: str, reference: str) -> None:
        content = await request.read(_MANIFEST_BYTES)
        digest = await self._images.put_manifest(repository, reference, request.headers.get("content-type", ""), content)
        location = f"/v2/{repository}/manifests/{digest}".encode()
        await request.answer(201, [(b"location", location), (b"docker-content-digest", digest.encode())])

    async def _start_upload(self, request: StoreRequest, repository: str, upload_id: str) -> None:
        if upload_id:
            await request.answer(405)
            return
        mount, source = request.query.get("mount", ""), request.query.get("from", "")
        if mount and re.fullmatch(REPOSITORY, source) and await self._images.mount(repository, source, mount):
            await self._created(request, repository, mount)
            return
        upload_id = await self._uploads.start(repository)
        digest = request.query.get("digest")
        if digest is None:
            await self._accepted(request, 202, repository, upload_id, 0)
            return
        await self._uploads.append(repository, upload_id, None, request.chunks())
        await self._uploads.complete(repository, upload_id, digest)
        await self._created(request, repository, digest)

    async def _show_upload(self, request: StoreRequest, repository: str, upload_id: str) -> None:
        await self._accepted(request, 204, repository, upload_id, await self._uploads.get_size(repository, upload_id))

    async def _append(self, request: StoreRequest, repository: str, upload_id: str) -> None:
        size = await self._uploads.append(repository, upload_id, _start_of(request), request.chunks())
        await self._accepted(request, 202, repository, upload_id, size)

    async def _complete(self, request: StoreRequest, repository: str, upload_id: str) -> None:
        digest = request.query.get("digest")
        if digest is None:
            raise InvalidError("the digest is missing", error_code="DIGEST_INVALID")
        await self._uploads.append(repository, upload_id, _start_of(request), request.chunks())
        await self._uploads.complete(repository, upload_id, digest)
        await self._created(request, repository, digest)

    async def _cancel(self, request: StoreRequest, repository: str, upload_id: str) -> None:
        await self._uploads.cancel(repository, upload_id)
        await request.answer(204)

    @staticmethod
    async def _accepted(request: StoreRequest, status: int, repository: str, upload_id: str, size_bytes: int) -> None:
        headers = [
            (b"location", f"/v2/{repository}/blobs/uploads/{upload_id}".encode()),
            (b"docker-upload-uuid", upload_id.encode()),
            (b"range", b"0-%d" % max(size_bytes - 1, 0)),
        ]
        if status == 204:
            await request.begin(status, headers)
            await request.send(b"", more=False)
        else:
            await request.answer(status, headers)

    @staticmethod
    async def _created(request: StoreRequest, repository: str, digest: str) -> None:
        location = f"/v2/{repository}/blobs/{digest}".encode()
        await request.answer(201, [(b"location", location), (b"docker-content-digest", digest.encode())])


def _start_of(request: StoreRequest) -> int | None:
    given = request.headers.get("content-range")
    if given is None:
        return None
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None:
        raise InvalidError("the range cannot be read", error_code="RANGE_INVALID")
    return int(match[1])
