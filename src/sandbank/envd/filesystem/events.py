"""Events on their way from a watch to a client, as many as memory allows."""

from __future__ import annotations

import asyncio
from collections import deque

from sandbank.contracts.filesystem import FilesystemEvent
from sandbank.domain.errors import InternalError, SandbankError

MAX_PER_WATCH = 16_384  # as many as the kernel's own queue takes by default
MAX_IN_ALL = 131_072  # some 100 MB when each carries an entry


class EventBudget:
    """What all buffers of one sandbox hold together."""

    def __init__(self, events: int = MAX_IN_ALL) -> None:
        self.left = events


class EventBuffer:
    """Holds events until they are taken. The reference has no bound; here, a client that stays away too long loses its watch."""

    def __init__(self, budget: EventBudget) -> None:
        self._budget = budget
        self._events: deque[FilesystemEvent] = deque()
        self._news = asyncio.Event()
        self.error: SandbankError | None = None
        """Why nothing more will come."""

    def put(self, event: FilesystemEvent) -> None:
        """Append; beyond the bound the buffer fails."""
        if self.error is not None:
            return
        if len(self._events) >= MAX_PER_WATCH or self._budget.left <= 0:
            self.fail(InternalError("watcher error: fsnotify: queue or buffer overflow"))
            return
        self._budget.left -= 1
        self._events.append(event)
        self._news.set()

    def fail(self, error: SandbankError) -> None:
        """Nothing more will come; the first reason counts."""
        self.error = self.error or error
        self._news.set()

    async def wait(self) -> None:
        """Until there is something to take, or to raise."""
        await self._news.wait()

    def take(self, most: int = MAX_PER_WATCH) -> list[FilesystemEvent]:
        """The oldest events; raises the error that ended the watch, once all events are taken."""
        if self.error is not None and not self._events:
            raise self.error
        taken = [self._events.popleft() for _ in range(min(most, len(self._events)))]
        self._budget.left += len(taken)
        if not self._events and self.error is None:
            self._news.clear()
        return taken

    def close(self) -> None:
        """Forget what was not taken."""
        self._budget.left += len(self._events)
        self._events.clear()
