"""Volumes on a node: directories that outlive sandboxes (contract data-plane §9.5, rest-api §19)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError

DEFAULT_OWNER = 9090
DIRECTORY_MODE, FILE_MODE = 0o777, 0o666
MAX_DEPTH = 10

# The codes that clients look at travel as the errors' codes.
PATH_NOT_FOUND, PATH_ALREADY_EXISTS, CANNOT_DELETE_ROOT = "PATH_NOT_FOUND", "PATH_ALREADY_EXISTS", "CANNOT_DELETE_ROOT"
DEPTH_OUT_OF_RANGE, INVALID_REQUEST, NOT_SUPPORTED = "DEPTH_OUT_OF_RANGE", "INVALID_REQUEST", "NOT_SUPPORTED"


@dataclass(frozen=True, slots=True)
class VolumeEntry:
    """One thing in a volume. `path` is absolute within it; `kind` is file, directory, symlink or unknown; times are aware UTC."""

    name: str
    path: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    accessed_at: datetime
    modified_at: datetime
    changed_at: datetime
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a caller says of a new or changed entry; what is `None` is left to its default, or as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class VolumeFiles(Protocol):
    """The files of all volumes of a node. Every method blocks, stays inside the volume, and raises domain errors with the codes above."""

    def create(self, volume_id: str) -> None: ...

    def delete(self, volume_id: str) -> None: ...

    def stat(self, volume_id: str, path: str) -> VolumeEntry: ...

    def list(self, volume_id: str, path: str, depth: int) -> list[VolumeEntry]: ...

    def make_directory(self, volume_id: str, path: str, ownership: Ownership, *, parents: bool) -> VolumeEntry: ...

    def change(self, volume_id: str, path: str, ownership: Ownership) -> VolumeEntry: ...

    def remove(self, volume_id: str, path: str) -> None: ...

    def open(self, volume_id: str, path: str) -> BinaryIO: ...

    def begin_write(self, volume_id: str, path: str, ownership: Ownership, *, force: bool) -> PendingFile: ...


class PendingFile(Protocol):
    """A file on its way: seen under its name only once `commit` has returned."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> VolumeEntry: ...

    def abandon(self) -> None:
        """Leave everything as it was. Idempotent, also after `commit`."""


def not_found(path: str) -> NotFoundError:
    """Nothing is there."""
    return NotFoundError(f"path '{path}' not found", error_code=PATH_NOT_FOUND)


def already_exists(path: str) -> ConflictError:
    """Something is there."""
    return ConflictError(f"path '{path}' already exists", error_code=PATH_ALREADY_EXISTS)


def invalid(message: str) -> InvalidError:
    """It makes no sense."""
    return InvalidError(message, error_code=INVALID_REQUEST)


def checked_depth(depth: int) -> int:
    """How deep to list; `InvalidError` beyond what is allowed."""
    if depth > MAX_DEPTH:
        raise InvalidError(f"depth must be between 1 and {MAX_DEPTH}", error_code=DEPTH_OUT_OF_RANGE)
    return max(depth, 1)


def pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """A file's content, so many bytes at a time."""
    while data := file.read(size):
        yield data
