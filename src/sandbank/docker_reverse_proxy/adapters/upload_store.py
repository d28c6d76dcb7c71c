"""Blobs on their way in: written as they come, hashed as they are written."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbank.aiokit.tasks import finish
from sandbank.artifacts.atomic import sync_directory, write_atomically
from sandbank.docker_reverse_proxy.adapters.image_store import ImageStore
from sandbank.docker_reverse_proxy.adapters.store_files import MIB, StoreFiles, too_large
from sandbank.docker_reverse_proxy.core.images import parse_digest
from sandbank.domain.errors import ConflictError, ExhaustedError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from hashlib import _Hash

_BATCH_BYTES = 2**20  # of what comes, before a thread writes it
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class _Upload:
    """One that this process has seen; `digest` has hashed all of the file, or is not there after a restart.

    `allowed_bytes` is what all uploads of the repository may take together, as of its start.
    """

    repository: str
    directory: Path
    size_bytes: int
    allowed_bytes: int
    digest: _Hash | None
    busy: bool = False

    @property
    def data(self) -> Path:
        return self.directory / "data"


class UploadStore:
    """See `Uploads`."""

    def __init__(self, files: StoreFiles, images: ImageStore) -> None:
        self._files = files
        self._images = images
        self._open: dict[str, _Upload] = {}

    async def start(self, repository: str) -> str:
        """See `Uploads`."""
        upload_id = uuid.uuid4().hex
        self._open[upload_id] = await finish(asyncio.to_thread(self._start, repository, upload_id))
        return upload_id

    async def append(self, repository: str, upload_id: str, start: int | None, chunks: AsyncIterator[bytes]) -> int:
        """See `Uploads`."""
        upload = await self._take(repository, upload_id)
        try:
            if start is not None and start != upload.size_bytes:
                raise ConflictError(f"the next byte is {upload.size_bytes}", error_code="RANGE_INVALID")
            batch: list[bytes] = []
            waiting = 0
            try:
                async for chunk in chunks:
                    batch.append(chunk)
                    waiting += len(chunk)
                    if waiting >= _BATCH_BYTES:
                        data, batch, waiting = b"".join(batch), [], 0
                        await finish(asyncio.to_thread(self._write, upload, data))
            finally:
                if batch:
                    await finish(asyncio.to_thread(self._write, upload, b"".join(batch)))
            return upload.size_bytes
        except ExhaustedError:
            await self._discard(upload_id, upload)  # it would only take room until somebody gives it up
            raise
        finally:
            upload.busy = False

    async def complete(self, repository: str, upload_id: str, digest: str) -> None:
        """See `Uploads`."""
        expected = parse_digest(digest)
        upload = await self._take(repository, upload_id)
        try:
            await finish(asyncio.to_thread(self._complete, repository, upload, expected))
        finally:
            upload.busy = False
            if not upload.directory.exists():
                self._open.pop(upload_id, None)

    async def get_size(self, repository: str, upload_id: str) -> int:
        """See `Uploads`."""
        return (await self._find(repository, upload_id)).size_bytes

    async def cancel(self, repository: str, upload_id: str) -> None:
        """See `Uploads`."""
        await self._discard(upload_id, await self._take(repository, upload_id))

    async def _discard(self, upload_id: str, upload: _Upload) -> None:
        self._open.pop(upload_id, None)
        await finish(asyncio.to_thread(shutil.rmtree, upload.directory, True))

    def forget_removed(self) -> None:
        """Let go of those whose files were collected."""
        for upload_id, upload in list(self._open.items()):
            if not upload.busy and not upload.directory.exists():
                del self._open[upload_id]

    def is_busy(self, upload_id: str) -> bool:
        """Whether bytes come at this moment."""
        upload = self._open.get(upload_id)
        return upload is not None and upload.busy

    async def _take(self, repository: str, upload_id: str) -> _Upload:
        upload = await self._find(repository, upload_id)
        if upload.busy:
            raise ConflictError("another request is writing this upload", error_code="BLOB_UPLOAD_INVALID")
        upload.busy = True
        return upload

    async def _find(self, repository: str, upload_id: str) -> _Upload:
        known = self._open.get(upload_id)
        if known is not None and known.repository == repository:
            return known
        found = await asyncio.to_thread(self._load, repository, upload_id)
        return self._open.setdefault(upload_id, found)  # two may have asked at once

    def _start(self, repository: str, upload_id: str) -> _Upload:
        mine = [name for name in os.listdir(self._files.uploads) if self._owner(name) == repository]
        if len(mine) >= self._files.limits.max_uploads:
            raise ExhaustedError("too many uploads at a time for this template", error_code="TOOMANYREQUESTS")
        self._files.require_room(0)
        allowed = self._files.allowance_bytes(repository)
        directory = self._files.uploads / upload_id
        directory.mkdir()
        write_atomically(directory / "repository", repository.encode(), 0o600)
        (directory / "data").touch(0o600)
        sync_directory(self._files.uploads)
        return _Upload(repository, directory, 0, allowed, hashlib.sha256())

    def _owner(self, upload_id: str) -> str | None:
        try:
            return (self._files.uploads / upload_id / "repository").read_text()
        except FileNotFoundError:
            return None

    def _load(self, repository: str, upload_id: str) -> _Upload:
        directory = self._files.uploads / upload_id
        if _ID.fullmatch(upload_id) is None or self._owner(upload_id) != repository:
            raise NotFoundError("there is no such upload", error_code="BLOB_UPLOAD_UNKNOWN")
        return _Upload(repository, directory, (directory / "data").stat().st_size, self._files.allowance_bytes(repository), None)

    def _write(self, upload: _Upload, data: bytes) -> None:
        others = [other.size_bytes for other in list(self._open.values()) if other.repository == upload.repository and other is not upload]
        limits = self._files.limits
        more = upload.size_bytes + len(data)
        if more > limits.max_layer_mib * MIB or sum(others) + more > upload.allowed_bytes:
            raise too_large(limits)
        self._files.require_room(len(data))
        try:
            with upload.data.open("ab") as file:
                file.write(data)
        except OSError as error:
            upload.digest = None  # nobody knows how much of it is in the file
            upload.size_bytes = upload.data.stat().st_size
            raise ExhaustedError(f"the disk for images takes no more: {error.strerror}", error_code="DENIED") from error
        upload.size_bytes += len(data)
        if upload.digest is not None:
            upload.digest.update(data)

    def _complete(self, repository: str, upload: _Upload, expected: str) -> None:
        with upload.data.open("rb") as file:
            actual = upload.digest.hexdigest() if upload.digest is not None else hashlib.file_digest(file, "sha256").hexdigest()
            if actual != expected:
                shutil.rmtree(upload.directory)
                raise InvalidError("the content has another digest", error_code="DIGEST_INVALID")
            os.fsync(file.fileno())
        if not self._images.has_blob(repository, expected) and upload.size_bytes > self._files.allowance_bytes(repository):
            raise too_large(self._files.limits)  # others were completed meanwhile
        self._images.adopt(repository, expected, upload.data)
        shutil.rmtree(upload.directory)
