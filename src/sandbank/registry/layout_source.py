"""An image in an OCI layout on this machine's disk. The operator put it there; it is verified all the same."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sandbank.registry import failures
from sandbank.registry.manifest import INDEX_TYPES, LARGEST_DOCUMENT_BYTES, Descriptor
from sandbank.registry.source import Document


class LayoutSource:
    """Implements `ImageSource`; `root` is a directory with `index.json` and `blobs/`."""

    def __init__(self, image: str, root: Path) -> None:
        self._image = image
        self._root = root

    async def top(self) -> Document:
        """The index; `UnavailableError` when there is none."""
        return await asyncio.to_thread(self._read, self._root / "index.json", INDEX_TYPES[0])

    async def document(self, descriptor: Descriptor) -> Document:
        """A part that is read whole."""
        document = await asyncio.to_thread(self._read, self._path(descriptor), descriptor.media_type)
        if document.digest != descriptor.digest:
            raise failures.dishonest(self._image, f"{self._path(descriptor)} is {document.digest}")
        return document

    async def blob(self, descriptor: Descriptor, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        """A copy, so that what is verified is what is used."""
        await asyncio.to_thread(self._copy, descriptor, file)
        on_bytes(descriptor.size)

    def _copy(self, descriptor: Descriptor, file: IO[bytes]) -> None:
        path = self._path(descriptor)
        try:
            with path.open("rb") as blob:
                shutil.copyfileobj(blob, file, 1 << 20)
        except OSError as error:
            raise failures.unreachable(self._image, f"{path}: {error.strerror}") from error
        file.seek(0)
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
        if found != descriptor.digest:
            raise failures.dishonest(self._image, f"{path} is {found}")

    def _path(self, descriptor: Descriptor) -> Path:
        return self._root / "blobs/sha256" / descriptor.digest.removeprefix("sha256:")

    def _read(self, path: Path, media_type: str) -> Document:
        try:
            with path.open("rb") as file:
                body = file.read(LARGEST_DOCUMENT_BYTES + 1)
        except OSError as error:
            raise failures.unreachable(self._image, f"{path}: {error.strerror}") from error
        if len(body) > LARGEST_DOCUMENT_BYTES:
            raise failures.dishonest(self._image, f"{path} is too large")
        return Document(body, media_type, f"sha256:{hashlib.sha256(body).hexdigest()}")
