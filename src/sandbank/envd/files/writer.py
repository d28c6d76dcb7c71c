"""One file being written in place (data-plane contract §4.5)."""

from __future__ import annotations

import os
import stat
from typing import Any

from sandbank.domain.errors import ExhaustedError, InternalError, InvalidError
from sandbank.envd.accounts import Account
from sandbank.envd.files.request_target import NO_SPACE
from sandbank.envd.filesystem import metadata
from sandbank.envd.filesystem.directories import ensure_directory
from sandbank.envd.offload import Pace
from sandbank.envd.paths import base_name, wire_text


def entry(path: str) -> dict[str, Any]:
    """What a client is told of a file it wrote."""
    return {"path": wire_text(path), "name": wire_text(base_name(path)), "type": "file"}


def told_of_space(error: OSError, path: str, announced_bytes: int | None = None) -> ExhaustedError | InternalError:
    """`error` for the client: a disk or quota that is full, one that has no room for names, or another failure."""
    if error.errno not in NO_SPACE:
        return InternalError(f"error writing file {path}: {error.strerror}")
    try:
        status = os.statvfs(os.path.dirname(path) or "/")
    except OSError:
        status = os.statvfs("/")
    if status.f_files and not status.f_favail:
        return ExhaustedError(f"not enough inodes available: 0 of {status.f_files} are left")
    prefix = "" if announced_bytes is None else f"attempted to write {announced_bytes} bytes: "
    return ExhaustedError(f"{prefix}not enough disk space available")


class FileWriter:
    """Made with the file open and empty; `close` whatever happens. What was written stays when the client leaves."""

    def __init__(self, path: str, account: Account, announced_bytes: int | None) -> None:
        self.path = path
        self._announced_bytes = announced_bytes
        self._pace = Pace()
        try:
            self._descriptor = self._open(account)
        except OSError as error:
            raise self._translated(error) from error

    def _open(self, account: Account) -> int:
        try:
            if stat.S_ISDIR(os.stat(self.path).st_mode):
                raise InvalidError(f"path is a directory: {self.path}")
        except (FileNotFoundError, NotADirectoryError):
            ensure_directory(os.path.dirname(self.path.rstrip("/")) or "/", account)
        # A pipe without a reader is refused instead of waited for, and no device becomes anybody's terminal.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(self.path, flags, 0o666)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchown(descriptor, account.uid, account.gid)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    async def write(self, data: bytes) -> None:
        """Append; `ExhaustedError` when the disk is full. Cancelled, it has written `data` or failed to."""
        try:
            await self._pace.call(self._write_all, data)
        except OSError as error:
            raise self._translated(error) from error

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def describe(self, attached: dict[str, str]) -> dict[str, Any]:
        """Attach the metadata and say what is on disk now."""
        try:
            metadata.replace(self._descriptor, attached)
            stored = metadata.read(self._descriptor)
        except OSError as error:
            raise self._translated(error) from error
        return entry(self.path) | ({"metadata": stored} if stored else {})

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._descriptor)

    def _translated(self, error: OSError) -> ExhaustedError | InternalError:
        return told_of_space(error, self.path, self._announced_bytes)
