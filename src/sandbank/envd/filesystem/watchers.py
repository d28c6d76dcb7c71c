"""Watches that clients poll."""

from __future__ import annotations

import secrets
import string

from sandbank.domain.errors import ExhaustedError, NotFoundError
from sandbank.envd.filesystem.hub import WatchHub
from sandbank.envd.filesystem.watch import DirectoryWatch

MAX_WATCHERS = 4096  # nobody ends one that its client forgot
_ALPHABET = string.ascii_lowercase + string.digits


class WatcherTable:
    """Polled watches by ID; they outlive the request that made them."""

    def __init__(self) -> None:
        self.hub = WatchHub()
        self._watches: dict[str, DirectoryWatch] = {}

    def check_room(self) -> None:
        """`ExhaustedError` when there are too many already."""
        if len(self._watches) >= MAX_WATCHERS:
            raise ExhaustedError(f"too many watchers: {MAX_WATCHERS} are open; remove some")

    def add(self, watch: DirectoryWatch) -> str:
        """The ID of a new watch: `w` and 20 characters of `[a-z0-9]`. It belongs to the table from now on."""
        self.check_room()
        watcher_id = "w" + "".join(secrets.choice(_ALPHABET) for _ in range(20))
        self._watches[watcher_id] = watch
        return watcher_id

    def get(self, watcher_id: str) -> DirectoryWatch:
        """`NotFoundError` for an unknown ID."""
        watch = self._watches.get(watcher_id)
        if watch is None:
            raise NotFoundError(f"watcher with id {watcher_id} not found")
        return watch

    def remove(self, watcher_id: str) -> None:
        """Stop and forget; `NotFoundError` for an unknown ID."""
        self.get(watcher_id).close()
        del self._watches[watcher_id]

    def close(self) -> None:
        """Stop and forget all."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
