"""One watched directory: kernel notifications become the events clients know (data-plane contract §3.7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from sandbank.contracts.filesystem import EventType, FilesystemEvent
from sandbank.domain.errors import InternalError, SandbankError
from sandbank.envd.accounts import Names
from sandbank.envd.filesystem import inotify
from sandbank.envd.filesystem.entry import describe
from sandbank.envd.filesystem.inotify import Inotify, Notification
from sandbank.envd.paths import wire_text

# The order in which several operations of one notification are told.
_OPERATIONS = (
    (inotify.CREATE | inotify.MOVED_TO, EventType.EVENT_TYPE_CREATE),
    (inotify.MOVED_FROM | inotify.MOVE_SELF, EventType.EVENT_TYPE_RENAME),
    (inotify.ATTRIB, EventType.EVENT_TYPE_CHMOD),
    (inotify.MODIFY, EventType.EVENT_TYPE_WRITE),
    (inotify.DELETE | inotify.DELETE_SELF, EventType.EVENT_TYPE_REMOVE),
)


def _has_content(entry: os.DirEntry[str]) -> bool:
    """Whether something was written to a file that was found rather than announced."""
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size > 0
    except OSError:
        return False


_WITH_ENTRY = frozenset({EventType.EVENT_TYPE_CREATE, EventType.EVENT_TYPE_WRITE, EventType.EVENT_TYPE_CHMOD})


class DirectoryWatch:
    """Calls `on_event` for every change from its construction until `close`; `on_error` once when it cannot go on.

    Raises `OSError` when the directory cannot be watched.
    """

    def __init__(
        self,
        path: str,
        *,
        recursive: bool,
        include_entry: bool,
        on_event: Callable[[FilesystemEvent], None],
        on_error: Callable[[SandbankError], None],
    ) -> None:
        self._root = path.rstrip("/") or "/"
        self._recursive = recursive
        self._include_entry = include_entry
        self._on_event = on_event
        self._on_error = on_error
        self._directories: dict[int, str] = {}
        """Relative path of each watched directory; empty for the root."""
        self._foretold: set[str] = set()
        """Entries told as created because they were found in a new directory; the kernel may tell them again."""
        self._loop = asyncio.get_running_loop()
        self._kernel = Inotify()
        self._reading = False
        try:
            self._root_watch = self._kernel.add(path, follow=True)
            self._directories[self._root_watch] = ""
            if recursive:
                self._add_below("", tell=False)
        except BaseException:
            self._kernel.close()
            raise
        self.resume()

    def pause(self) -> None:
        """Leave news in the kernel's queue, which is bounded: too long a pause ends the watch with an error."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._kernel.descriptor)

    def resume(self) -> None:
        """Go on after `pause`."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._kernel.descriptor, self._read)

    def close(self) -> None:
        """Stop; nothing is called afterwards."""
        self.pause()
        self._kernel.close()

    def _absolute(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}" if relative else self._root

    def _read(self) -> None:
        for notification in self._kernel.read():
            if notification.mask & inotify.OVERFLOW:
                self.pause()
                self._on_error(InternalError("watcher error: fsnotify: queue or buffer overflow"))
                return
            if notification.mask & inotify.IGNORED:
                self._directories.pop(notification.watch, None)
            else:
                self._handle(notification)

    def _handle(self, notification: Notification) -> None:
        directory = self._directories.get(notification.watch)
        if directory is None:
            return
        if not notification.name:
            if directory == "":  # below the root, the parent's watch tells the same
                self._tell(notification.mask, ".")
            return
        relative = f"{directory}/{notification.name}" if directory else notification.name
        if notification.mask & inotify.CREATE and relative in self._foretold:
            self._foretold.discard(relative)
            return
        if notification.mask & (inotify.DELETE | inotify.MOVED_FROM):
            self._foretold.discard(relative)
        self._tell(notification.mask, relative)
        if self._recursive and notification.mask & inotify.IS_DIRECTORY:
            if notification.mask & inotify.MOVED_FROM:
                self._drop_below(relative)
            elif notification.mask & (inotify.CREATE | inotify.MOVED_TO):
                self._add_new(relative, tell=bool(notification.mask & inotify.CREATE))

    def _tell(self, mask: int, relative: str) -> None:
        for bits, kind in _OPERATIONS:
            if mask & bits:
                event = FilesystemEvent(name=wire_text(relative), type=kind)
                if self._include_entry and kind in _WITH_ENTRY:
                    try:
                        event.entry.CopyFrom(describe(self._absolute(relative), Names()))
                    except OSError:
                        event.ClearField("entry")  # gone already
                self._on_event(event)

    def _add_new(self, relative: str, *, tell: bool) -> None:
        """Watch a directory that appeared, and what was put into it before we could."""
        try:
            watch = self._kernel.add(self._absolute(relative), follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._on_error(InternalError(f"watcher error: cannot watch {self._absolute(relative)}: {error.strerror}"))
            return
        self._directories[watch] = relative
        self._add_below(relative, tell=tell)

    def _add_below(self, relative: str, *, tell: bool) -> None:
        try:
            entries = sorted(os.scandir(self._absolute(relative)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if tell:
                self._foretold.add(name)
                self._tell(inotify.CREATE | (inotify.MODIFY if _has_content(entry) else 0), name)
            if entry.is_dir(follow_symlinks=False):
                self._add_new(name, tell=tell)

    def _drop_below(self, relative: str) -> None:
        """A directory left the tree, or moves inside it and is added again under its new name."""
        for watch, directory in list(self._directories.items()):
            if directory == relative or directory.startswith(relative + "/"):
                del self._directories[watch]
                self._kernel.remove(watch)
