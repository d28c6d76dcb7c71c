"""`POST /files` (data-plane contract §4.5)."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from typing import Any

from sandbank.domain.errors import ExhaustedError, InternalError, InvalidError
from sandbank.envd.accounts import Account
from sandbank.envd.files import multipart
from sandbank.envd.files.request_target import NO_SPACE, requested_account
from sandbank.envd.files.signature import authorise
from sandbank.envd.filesystem import metadata
from sandbank.envd.filesystem.directories import ensure_directory
from sandbank.envd.paths import base_name, wire_text
from sandbank.envd.state import AgentState
from sandbank.envd.transport.body import gunzipped
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response


class FileWriter:
    """One file being written in place; `close` whatever happens. What was written stays when the client leaves."""

    def __init__(self, path: str, account: Account, announced_bytes: int | None) -> None:
        self.path = path
        self._announced_bytes = announced_bytes
        try:
            self._descriptor = self._open(account)
        except OSError as error:
            raise self._translated(error) from error

    def _open(self, account: Account) -> int:
        ensure_directory(os.path.dirname(self.path.rstrip("/")) or "/", account)
        try:
            exists = os.stat(self.path)
        except FileNotFoundError:
            exists = None
        if exists is not None and stat.S_ISDIR(exists.st_mode):
            raise InvalidError(f"path is a directory: {self.path}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(self.path, flags, 0o666)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchown(descriptor, account.uid, account.gid)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, data: bytes) -> None:
        """Append."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._translated(error) from error

    def describe(self, attached: dict[str, str]) -> dict[str, Any]:
        """Attach the metadata and say what is on disk now."""
        metadata.replace(self._descriptor, attached)
        answer: dict[str, Any] = {"path": wire_text(self.path), "name": wire_text(base_name(self.path)), "type": "file"}
        if stored := metadata.read(self._descriptor):
            answer["metadata"] = stored
        return answer

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._descriptor)

    def _translated(self, error: OSError) -> ExhaustedError | InternalError:
        if error.errno not in NO_SPACE:
            return InternalError(f"error writing file {self.path}: {error.strerror}")
        status = os.statvfs("/")
        if status.f_files and not status.f_ffree:
            return ExhaustedError("not enough inodes available: no inode is left on the disk")
        prefix = "" if self._announced_bytes is None else f"attempted to write {self._announced_bytes} bytes: "
        return ExhaustedError(f"{prefix}not enough disk space available")


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
            async for data in chunks:
                writer.write(data)
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
        paths: list[str] = []
        writer: FileWriter | None = None
        try:
            async for event in multipart.parse(chunks, boundary):
                match event:
                    case multipart.PartBegin(name="file"):
                        path = self._state.resolve(request.query.get("path") or event.filename or "", account)
                        _check_unique(path, paths)
                        writer = FileWriter(path, account, request.content_length)
                        paths.append(path)
                    case multipart.PartData() if writer is not None:
                        writer.write(event.data)
                    case multipart.PartEnd() if writer is not None:
                        written.append(writer.describe(attached))
                        writer.close()
                        writer = None
        finally:
            if writer is not None:
                writer.close()
        return written


def _check_unique(path: str, paths: list[str]) -> None:
    if path not in paths:
        return
    message = (
        f"you cannot upload multiple files to the same path '{path}' in one upload request, only the first specified file was uploaded"
    )
    if others := [other for other in paths if other != path]:
        message += f", also the following files were uploaded: {', '.join(others)}"
    raise InvalidError(message)
