"""Removing whole trees, whoever made them: of any depth, width and naming."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from typing import Any

from sandbank.domain.errors import InternalError
from sandbank.envd.offload import in_turns

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LEVELS = 50  # held open, by two descriptors each; what lies deeper is moved up first, so neither they nor paths run out
_MAX_RESCANS = 100  # of a directory that somebody else keeps filling


async def remove_tree(path: str) -> None:
    """Remove `path` and everything below it without following links; a path that does not exist is fine.

    What cannot be removed stays, the rest goes all the same; then `InternalError` tells the first failure. Cancelled, it leaves what was
    not reached yet.
    """
    removal = Removal(path)
    try:
        await in_turns(removal.steps())
    finally:
        removal.close()
    if removal.failure is not None:
        raise InternalError(f"error removing file or directory: {path}: {removal.failure.strerror}") from removal.failure


class _Level:
    """An open directory on the way down."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        try:
            self.entries: Any = os.scandir(descriptor)  # never the whole list: a directory may hold millions
        except OSError:
            os.close(descriptor)
            raise
        self.progress = False
        self.rescans = 0

    def rescan(self) -> None:
        self.entries.close()
        self.entries = os.scandir(self.descriptor)
        self.progress = False

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


class Removal:
    """One tree being removed; `failure` is the first thing that went wrong."""

    def __init__(self, path: str) -> None:
        self.failure: OSError | None = None
        self._path = path.rstrip("/")
        self._levels: list[_Level] = []
        self._parent = -1
        self._prefix = f".removing-{secrets.token_hex(8)}-"
        self._raised = 0

    def steps(self) -> Iterator[None]:
        """Do it, an entry at a time."""
        parent, _, name = self._path.rpartition("/")
        if name in ("", ".", ".."):
            self.failure = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return
        try:
            self._parent = os.open(parent or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.failure = error
            return
        self._remove(self._parent, name)
        while self._levels:
            yield
            level = self._levels[-1]
            entry = next(level.entries, None)
            if entry is not None:
                self._remove(level.descriptor, entry.name)
            else:
                self._leave(level)

    def close(self) -> None:
        """Release every descriptor."""
        while self._levels:
            self._levels.pop().close()
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    def _remove(self, parent: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM):
                self._fail(error)
                return
        else:
            self._progress()
            return
        try:
            if len(self._levels) >= MAX_LEVELS:
                os.rename(name, f"{self._prefix}{self._raised}", src_dir_fd=parent, dst_dir_fd=self._levels[0].descriptor)
                self._raised += 1
                self._levels[0].progress = True
                self._levels[0].rescans = 0
                self._progress()
            else:
                self._levels.append(_Level(name, os.open(name, _DIRECTORY, dir_fd=parent)))
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail(error)

    def _leave(self, level: _Level) -> None:
        parent = self._levels[-2].descriptor if len(self._levels) > 1 else self._parent
        try:
            os.rmdir(level.name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.ENOTEMPTY and level.progress and level.rescans < _MAX_RESCANS:
                level.rescans += 1
                level.rescan()
                return
            self._fail(error)
        self._levels.pop().close()
        self._progress()

    def _progress(self) -> None:
        if self._levels:
            self._levels[-1].progress = True

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or error
