"""Watches that clients poll."""

from __future__ import annotations

import secrets
import string

from sandbank.contracts.filesystem import FilesystemEvent
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.envd.filesystem.watch import DirectoryWatch

_ALPHABET = string.ascii_lowercase + string.digits


class PolledWatcher:
    """Keeps events until they are asked for; without bound, as the reference does, because a client that watches also asks."""

    def __init__(self, path: str, *, recursive: bool, include_entry: bool) -> None:
        self._events: list[FilesystemEvent] = []
        self._error: SandbankError | None = None
        self._watch = DirectoryWatch(
            path, recursive=recursive, include_entry=include_entry, on_event=self._events.append, on_error=self._fail
        )

    def _fail(self, error: SandbankError) -> None:
        self._error = error

    def take(self) -> list[FilesystemEvent]:
        """Everything since the last time; raises the error that ended the watch, once all events are taken."""
        if self._error is not None and not self._events:
            raise self._error
        events = self._events.copy()
        self._events.clear()
        return events

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()


class WatcherTable:
    """Polled watchers by ID; they outlive the request that made them."""

    def __init__(self) -> None:
        self._watchers: dict[str, PolledWatcher] = {}

    def add(self, watcher: PolledWatcher) -> str:
        """The ID of a new watcher: `w` and 20 characters of `[a-z0-9]`."""
        watcher_id = "w" + "".join(secrets.choice(_ALPHABET) for _ in range(20))
        self._watchers[watcher_id] = watcher
        return watcher_id

    def get(self, watcher_id: str) -> PolledWatcher:
        """`NotFoundError` for an unknown ID."""
        watcher = self._watchers.get(watcher_id)
        if watcher is None:
            raise NotFoundError(f"watcher with id {watcher_id} not found")
        return watcher

    def remove(self, watcher_id: str) -> None:
        """Stop and forget; `NotFoundError` for an unknown ID."""
        self.get(watcher_id).close()
        del self._watchers[watcher_id]

    def close(self) -> None:
        """Stop and forget all."""
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()
