"""Archives of files that clients upload for COPY steps: `<root>/files/<scope>/<hash>.tar`, complete or absent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from sandbank.artifacts.atomic import sync_directory, write_atomically
from sandbank.domain.errors import ExhaustedError, InvalidError, UnavailableError

_PIECE_BYTES = 1 << 20
_KEY_BYTES = 32
_ASIDE = ".uploading-"
# Archives that no build has asked for in that time are uploaded again.
_LIFE_SECONDS = 14 * 24 * 3600.0


class UploadedFiles:
    """Those of one node, and the key that signs links to it, which outlives restarts."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._top = root / "files"
        self._max_bytes = max_bytes

    def key(self) -> bytes:
        """Made at its first use."""
        path = self._top / "key"
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, secrets.token_bytes(_KEY_BYTES), mode=0o600)
        return path.read_bytes()

    def find(self, scope: str, digest: str) -> Path | None:
        """The archive, which counts as used now. The names are known to be harmless."""
        path = self._path(scope, digest)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    async def read(self, path: Path) -> AsyncIterator[bytes]:
        """Its content."""
        with path.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece

    async def write(self, scope: str, digest: str, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """On disk, whole, when it returns, replacing an earlier one; else nothing is changed.

        `ExhaustedError` for more than an archive may have, `InvalidError` when what comes is not as long as announced, `UnavailableError`
        when there is no room.
        """
        if size_bytes > self._max_bytes:
            raise ExhaustedError(f"an archive of files may have {self._max_bytes} bytes, this one has {size_bytes}")
        path = self._path(scope, digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_name(f"{_ASIDE}{secrets.token_hex(8)}")
        try:
            with aside.open("xb") as file:
                written = 0
                async for piece in content:
                    written += len(piece)
                    if written > size_bytes:
                        break
                    await asyncio.to_thread(file.write, piece)
                if written != size_bytes:
                    raise InvalidError(f"{size_bytes} bytes were announced, {written} came")
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            aside.rename(path)
            await asyncio.to_thread(sync_directory, path.parent)
        except OSError as error:
            raise UnavailableError(f"the archive could not be stored: {error.strerror}") from error
        finally:
            aside.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what was not finished, and what has not been used for long. Blocks."""
        before = time.time() - _LIFE_SECONDS
        for path in self._top.glob("*/*"):
            with contextlib.suppress(OSError):
                if path.name.startswith(_ASIDE) or path.stat().st_mtime < before:
                    path.unlink()

    def _path(self, scope: str, digest: str) -> Path:
        return self._top / scope / f"{digest}.tar"
