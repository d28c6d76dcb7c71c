"""Files of sandboxes that have ended, removed in the background."""

from __future__ import annotations

import asyncio

from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.drivers.namespaces.home import Homes


class Trash:
    """Empties what homes were discarded, in one thread at a time: creates and kills need the others, and how much it is, tenants choose."""

    def __init__(self, homes: Homes, tasks: TaskGroup) -> None:
        self._homes = homes
        self._tasks = tasks
        self._is_full = self._is_emptying = False

    def discard(self, sandbox_id: str) -> None:
        """Take a sandbox's home out of the way at once. Idempotent."""
        self._homes.discard(sandbox_id)
        self.empty()

    def empty(self) -> None:
        """Soon."""
        self._is_full = True
        if not self._is_emptying:
            self._is_emptying = True
            self._tasks.start("empty trash", self._empty())

    async def _empty(self) -> None:
        try:
            while self._is_full:
                self._is_full = False
                await asyncio.to_thread(self._homes.empty_trash)
        finally:
            self._is_emptying = False
