"""What there is in a volume, as clients are told."""

from __future__ import annotations

import contextlib
import os
import stat as modes
from datetime import UTC, datetime

from sandbank.orchestrator.core import volumes
from sandbank.orchestrator.core.volumes import VolumeEntry

ASIDE = ".sandbank-upload-"
"""Names that begin so are ours, on their way in or out, and not shown."""
_KINDS = {modes.S_IFREG: "file", modes.S_IFDIR: "directory", modes.S_IFLNK: "symlink"}
_MAX_ENTRIES = 100_000
_MAX_LIST_TEXT = 16 << 20  # characters of all paths and links' targets of one answer
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


def describe(path: str, parent: int, name: str) -> VolumeEntry:
    """What `name` in the directory `parent` is, links not followed; `path` is what it is called in the volume."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    target = None
    if modes.S_ISLNK(status.st_mode):
        with contextlib.suppress(OSError):
            target = os.readlink(name, dir_fd=parent)
    return VolumeEntry(
        name="/" if path == "/" else os.path.basename(path),
        path=path,
        kind=_KINDS.get(modes.S_IFMT(status.st_mode), "unknown"),
        size=status.st_size,
        mode=modes.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        accessed_at=_time(status.st_atime),
        modified_at=_time(status.st_mtime),
        changed_at=_time(status.st_ctime),
        target=target,
    )


def _time(seconds: float) -> datetime:
    """A file's time may be any number; beyond the years that can be written it becomes the nearest one that can."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST_SECOND), _LAST_SECOND), UTC)


class Listing:
    """What was found so far, within bounds: how many names there are and how long, sandboxes decide."""

    def __init__(self) -> None:
        self.entries: list[VolumeEntry] = []
        self._text = 0

    def collect(self, directory: int, path: str, depth: int) -> None:
        """Add all below, parents before their children; `InvalidError` when that is too much."""
        for name in self._names(directory):
            try:
                entry = describe(f"{path}/{name}", directory, name)
            except FileNotFoundError:
                continue
            self.entries.append(entry)
            self._text += len(entry.path) + len(entry.name) + len(entry.target or "")
            if self._text > _MAX_LIST_TEXT:
                raise volumes.invalid("the entries' names are too long together: list less deep, or a directory below")
            if entry.kind == "directory" and depth > 1:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                    try:
                        self.collect(below, entry.path, depth - 1)
                    finally:
                        os.close(below)

    def _names(self, directory: int) -> list[str]:
        names: list[str] = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(ASIDE):
                    continue
                if len(self.entries) + len(names) >= _MAX_ENTRIES:
                    raise volumes.invalid(f"there are more than {_MAX_ENTRIES} entries: list less deep, or a directory below")
                names.append(entry.name)
        return sorted(names)
