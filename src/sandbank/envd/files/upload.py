"""`POST /files` (data-plane contract §4.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sandbank.domain.errors import InvalidError
from sandbank.envd.accounts import Account
from sandbank.envd.files import multipart
from sandbank.envd.files.request_target import requested_account
from sandbank.envd.files.signature import authorise
from sandbank.envd.files.writer import FileWriter
from sandbank.envd.filesystem import metadata
from sandbank.envd.filesystem.slices import Slicer
from sandbank.envd.state import AgentState
from sandbank.envd.transport.body import gunzipped
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

MAX_FILES = 50_000  # of one request; what is told about each takes memory


class Upload:
    """The handler; bodies stream to disk with bounded memory."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    async def __call__(self, request: Request, response: Response) -> None:
        """Write one file from a plain body or several from a multipart one."""
        authorise(request, "write", self._state.access_token)
        account = requested_account(self._state, request)
        attached = metadata.from_headers(request.headers)
        chunks = request.body.chunks()
        match request.headers.get("content-encoding", "identity").lower():
            case "gzip":
                chunks = gunzipped(chunks)
            case "identity" | "":
                pass
            case other:
                raise InvalidError(f"error decompressing request body: unsupported content encoding: {other}")
        kind = request.content_type
        if kind == "application/octet-stream":
            written = [await self._write_plain(request, account, attached, chunks)]
        elif kind.startswith("multipart/"):
            written = await self._write_parts(request, account, attached, chunks)
        else:
            raise InvalidError(f"unsupported content type: {kind}, expected multipart/form-data or application/octet-stream")
        await response.send_json(200, written)

    async def _write_plain(
        self, request: Request, account: Account, attached: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        path = request.query.get("path")
        if not path:
            raise InvalidError("path query parameter is required for raw body upload")
        writer = FileWriter(self._state.resolve(path, account), account, request.content_length)
        try:
            turns = Slicer(steps=4)  # a small gzip body may hold gigabytes
            async for data in chunks:
                await writer.write(data)
                await turns.step()
            return writer.describe(attached)
        finally:
            writer.close()

    async def _write_parts(
        self, request: Request, account: Account, attached: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> list[dict[str, Any]]:
        boundary = multipart.parameters(request.headers.get("content-type", "")).get("boundary")
        if not boundary:
            raise InvalidError("error parsing multipart form: no multipart boundary param in Content-Type")
        written: list[dict[str, Any]] = []
        paths: dict[str, None] = {}
        turns = Slicer()
        writer: FileWriter | None = None
        try:
            async for event in multipart.parse(chunks, boundary):
                await turns.step()
                match event:
                    case multipart.PartBegin(name="file"):
                        path = self._state.resolve(request.query.get("path") or event.filename or "", account)
                        _check_unique(path, paths)
                        writer = FileWriter(path, account, request.content_length)
                        paths[path] = None
                    case multipart.PartData() if writer is not None:
                        await writer.write(event.data)
                    case multipart.PartEnd() if writer is not None:
                        written.append(writer.describe(attached))
                        writer.close()
                        writer = None
        finally:
            if writer is not None:
                writer.close()
        return written


def _check_unique(path: str, paths: dict[str, None]) -> None:
    if len(paths) >= MAX_FILES:
        raise InvalidError(f"too many files in one upload request: the first {MAX_FILES} were uploaded")
    if path not in paths:
        return
    message = (
        f"you cannot upload multiple files to the same path '{path}' in one upload request, only the first specified file was uploaded"
    )
    if others := [other for other in paths if other != path]:
        message += f", also the following files were uploaded: {', '.join(others)}"
    raise InvalidError(message)
