"""Listing a directory to a depth (data-plane contract §3.5)."""

from __future__ import annotations

import errno
import os
import stat

from sandbank.contracts.filesystem import EntryInfo, FileType
from sandbank.domain.errors import ConflictError, ExhaustedError, InternalError, InvalidError, NotFoundError
from sandbank.envd.accounts import Names
from sandbank.envd.filesystem.entry import describe
from sandbank.envd.filesystem.slices import Slicer

MAX_ENTRIES = 200_000  # of one answer: each takes a kilobyte until it is sent


def _check_root(path: str) -> None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"path not found: stat {path}: no such file or directory") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConflictError(f'cyclic symlink or chain >255 links at "{path}"', error_code="failed_precondition") from error
        raise InternalError(f"error getting file info: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidError(f"path is not a directory: {path}")


def _names(path: str) -> list[str]:
    return sorted(os.listdir(path), key=os.fsencode, reverse=True)


async def list_directory(path: str, depth: int) -> list[EntryInfo]:
    """Everything up to `depth` levels below `path`: an entry, its children, then its next sibling.

    Links to directories are listed, not entered; what vanishes meanwhile is left out. `ExhaustedError` for more than anybody can read.
    """
    _check_root(path)
    names, slicer = Names(), Slicer()
    prefix = path.rstrip("/") + "/"
    entries: list[EntryInfo] = []
    try:
        pending = [(prefix + name, 1) for name in _names(path)]
    except OSError as error:
        raise InternalError(f"error reading directory {path}: {error.strerror}") from error
    while pending:
        current, level = pending.pop()
        await slicer.step()
        try:
            entry = describe(current, names)
            if level < depth and entry.type == FileType.FILE_TYPE_DIRECTORY and not entry.is_symlink:
                pending.extend((f"{current}/{name}", level + 1) for name in _names(current))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InternalError(f"error reading directory {current}: {error.strerror}") from error
        entries.append(entry)
        if len(entries) > MAX_ENTRIES:
            raise ExhaustedError(f"more than {MAX_ENTRIES} entries below {path}: list a part of it, or not as deep")
    return entries
