"""One watched directory: kernel notifications become the events clients know (data-plane contract §3.7)."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque

from sandbank.contracts.filesystem import EventType, FilesystemEvent
from sandbank.domain.errors import InternalError, SandbankError
from sandbank.envd.filesystem import inotify
from sandbank.envd.filesystem.entry import describe
from sandbank.envd.filesystem.events import EventBuffer
from sandbank.envd.filesystem.hub import WatchHub
from sandbank.envd.filesystem.inotify import Notification
from sandbank.envd.paths import wire_text

# The order in which several operations of one notification are told.
_OPERATIONS = (
    (inotify.CREATE | inotify.MOVED_TO, EventType.EVENT_TYPE_CREATE),
    (inotify.MOVED_FROM | inotify.MOVE_SELF, EventType.EVENT_TYPE_RENAME),
    (inotify.ATTRIB, EventType.EVENT_TYPE_CHMOD),
    (inotify.MODIFY, EventType.EVENT_TYPE_WRITE),
    (inotify.DELETE | inotify.DELETE_SELF, EventType.EVENT_TYPE_REMOVE),
)
_WITH_ENTRY = frozenset({EventType.EVENT_TYPE_CREATE, EventType.EVENT_TYPE_WRITE, EventType.EVENT_TYPE_CHMOD})
_DIRECTORIES_AT_ONCE = 64


def _has_content(entry: os.DirEntry[str]) -> bool:
    """Whether something was written to a file that was found rather than announced."""
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size > 0
    except OSError:
        return False


class DirectoryWatch:
    """Puts every change into `events`, from `arm` until `close`. Directories are found in slices, so large trees hold nobody up."""

    def __init__(self, hub: WatchHub, path: str, *, recursive: bool, include_entry: bool) -> None:
        self.events = EventBuffer(hub.budget)
        self._hub = hub
        self._path = path
        self._root = path.rstrip("/") or "/"
        self._recursive = recursive
        self._include_entry = include_entry
        self._loop = asyncio.get_running_loop()
        self._directories: dict[int, str] = {}
        """Relative path of each watched directory by the kernel's number; empty for the root."""
        self._pending: deque[tuple[str, bool]] = deque()
        """Directories still to be watched, and whether what they hold is news."""
        self._walking = False
        self._armed: asyncio.Future[None] | None = None
        # Entries told as created because they were found in a new directory. The kernel may tell them again, but not once its queue
        # was seen empty; those found since the last look count for the next.
        self._foretold: set[str] = set()
        self._foretold_lately: set[str] = set()

    async def arm(self) -> None:
        """Begin; returns when everything that is there now is watched. `OSError` for the directory, `ExhaustedError` at a limit."""
        self._directories[self._hub.subscribe(self._path, self, follow=True)] = ""
        if not self._recursive:
            return
        self._find_below("", tell=False)
        if self._pending:
            self._armed = self._loop.create_future()
            try:
                await self._armed
            finally:
                self._armed = None
        if self.events.error is not None:
            raise self.events.error

    def close(self) -> None:
        """Stop; nothing is put afterwards. Idempotent."""
        self._stop()
        self.events.close()

    def _stop(self) -> None:
        self._pending.clear()
        self._foretold.clear()
        self._foretold_lately.clear()
        for descriptor in list(self._directories):
            self.forget(descriptor)
            self._hub.unsubscribe(descriptor, self)

    # -- called by the hub

    def begin_batch(self) -> None:
        """What was found up to now was found before this batch was read."""
        self._foretold |= self._foretold_lately
        self._foretold_lately.clear()

    def end_batch(self, *, drained: bool) -> None:
        """After a batch that emptied the kernel's queue, what was found before is not told again."""
        if drained:
            self._foretold.clear()
        if self.events.error is not None:
            self._stop()

    def forget(self, descriptor: int) -> None:
        """The kernel watches that directory no more."""
        self._directories.pop(descriptor, None)

    def fail(self, error: SandbankError) -> None:
        """End with an error; what was put before can still be taken."""
        self.events.fail(error)
        self._stop()

    def handle(self, notification: Notification) -> None:
        """Tell it, and follow directories as they come and go."""
        directory = self._directories.get(notification.watch)
        if directory is None:
            return
        if not notification.name:
            if directory == "":  # below the root, the parent's watch tells the same
                self._tell(notification.mask, ".")
            return
        relative = f"{directory}/{notification.name}" if directory else notification.name
        if notification.mask & inotify.CREATE and self._was_foretold(relative):
            return
        if notification.mask & (inotify.DELETE | inotify.MOVED_FROM):
            self._was_foretold(relative)
        self._tell(notification.mask, relative)
        if self._recursive and notification.mask & inotify.IS_DIRECTORY:
            if notification.mask & inotify.MOVED_FROM:
                self._drop_below(relative)
            elif notification.mask & (inotify.CREATE | inotify.MOVED_TO):
                self._watch_below(relative, tell=bool(notification.mask & inotify.CREATE))
                self._advance()  # a small tree is watched as a whole before anybody hears of it

    # -- telling

    def _was_foretold(self, relative: str) -> bool:
        for names in (self._foretold, self._foretold_lately):
            if relative in names:
                names.remove(relative)
                return True
        return False

    def _absolute(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}" if relative else self._root

    def _tell(self, mask: int, relative: str) -> None:
        for bits, kind in _OPERATIONS:
            if mask & bits:
                event = FilesystemEvent(name=wire_text(relative), type=kind)
                if self._include_entry and kind in _WITH_ENTRY:
                    try:
                        event.entry.CopyFrom(describe(self._absolute(relative), self._hub.names()))
                    except OSError:
                        event.ClearField("entry")  # gone already
                self.events.put(event)

    # -- following directories

    def _walk(self) -> None:
        if not self._walking and self._pending:
            self._walking = True
            self._loop.call_soon(self._walk_on)

    def _walk_on(self) -> None:
        self._walking = False
        self._advance()
        if self.events.error is not None:
            self._stop()
        if self._pending:
            self._walk()
        elif self._armed is not None and not self._armed.done():
            self._armed.set_result(None)

    def _advance(self) -> None:
        for _ in range(_DIRECTORIES_AT_ONCE):
            if not self._pending:
                return
            relative, tell = self._pending.popleft()
            self._watch_below(relative, tell=tell)

    def _watch_below(self, relative: str, *, tell: bool) -> None:
        """Watch a directory; then look what was put into it before that."""
        try:
            descriptor = self._hub.subscribe(self._absolute(relative), self, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        except SandbankError as error:
            self.fail(error)
            return
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return  # no path reaches it
            self.fail(InternalError(f"watcher error: cannot watch {self._absolute(relative)}: {error.strerror}"))
            return
        if self._directories.get(descriptor) != relative:
            self._directories[descriptor] = relative
            self._find_below(relative, tell=tell)

    def _find_below(self, relative: str, *, tell: bool) -> None:
        try:
            with os.scandir(self._absolute(relative)) as entries:
                for entry in entries:
                    name = f"{relative}/{entry.name}" if relative else entry.name
                    if tell:
                        self._foretold_lately.add(name)
                        self._tell(inotify.CREATE | (inotify.MODIFY if _has_content(entry) else 0), name)
                    if entry.is_dir(follow_symlinks=False):
                        self._pending.append((name, tell))
        except OSError:  # it vanished, or lies deeper than paths reach
            pass
        self._walk()

    def _drop_below(self, relative: str) -> None:
        """A directory left the tree, or moves inside it and is added again under its new name."""

        def is_below(name: str) -> bool:
            return name == relative or name.startswith(relative + "/")

        for descriptor, directory in list(self._directories.items()):
            if is_below(directory):
                self.forget(descriptor)
                self._hub.unsubscribe(descriptor, self)
        self._pending = deque(one for one in self._pending if not is_below(one[0]))
        self._foretold = {name for name in self._foretold if not is_below(name)}
        self._foretold_lately = {name for name in self._foretold_lately if not is_below(name)}
