"""Paused sandboxes that are still in memory: a cache of what is on disk already, for as long as nobody wants the memory (ADR 0016)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sandbank.runtime.drivers.namespaces.running import Running
from sandbank.runtime.linux.memory import memory_bytes

# Of the machine's memory: below, whoever runs needs it more.
_LEAST_AVAILABLE = 0.1
# Of the node's slots.
_MOST_SLOTS = 0.125


@dataclass(frozen=True, slots=True)
class _Frozen:
    running: Running
    memory_bytes: int


class FrozenCache:
    """The frozen sandboxes of one node by the names of their snapshots, longest frozen first. `end` gives back all that one holds."""

    def __init__(self, share: float, slots: int, end: Callable[[Running], Awaitable[None]], meminfo: Path = Path("/proc/meminfo")) -> None:
        self._share = share
        self._most = int(slots * _MOST_SLOTS)
        self._end = end
        self._meminfo = meminfo
        self._kept: dict[str, _Frozen] = {}
        self._leaving: dict[str, asyncio.Event] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is kept at all."""
        return self._share > 0 and self._most > 0

    async def add(self, snapshot_id: str, running: Running) -> None:
        """Keep one, at the expense of older ones or, if it is too large, not for long."""
        self._kept[snapshot_id] = _Frozen(running, running.group.usage().memory_bytes)
        await self.make_room()

    def take(self, snapshot_id: str | None, sandbox_id: str) -> Running | None:
        """One that is wanted again as who it was; whoever takes it ends it or lets it run."""
        found = self._kept.get(snapshot_id or "")
        if found is None or found.running.record.sandbox_id != sandbox_id:
            return None
        del self._kept[snapshot_id or ""]
        return found.running

    def take_spare(self, snapshot_id: str | None, cpu_count: int) -> Running | None:
        """One that was made ahead and is nobody yet; its name is its own until whoever takes it gives it another."""
        for key, found in self._kept.items():
            if found.running.spare_of == snapshot_id and found.running.record.cpu_count == cpu_count:
                del self._kept[key]
                return found.running
        return None

    def count_spares(self, snapshot_id: str) -> int:
        """How many there are of that snapshot."""
        return sum(found.running.spare_of == snapshot_id for found in self._kept.values())

    async def remove_spares(self, snapshot_id: str) -> None:
        """End those made of that snapshot. Idempotent."""
        for key in [key for key, found in self._kept.items() if found.running.spare_of == snapshot_id]:
            await self.remove(key)

    async def make_room(self) -> None:
        """End the longest frozen ones until the others take no more than their share, of memory that nobody misses."""
        while self._kept and self._is_too_much():
            await self.remove(next(iter(self._kept)))

    async def remove(self, snapshot_id: str) -> None:
        """Idempotent."""
        if (found := self._kept.pop(snapshot_id, None)) is None:
            return
        sandbox_id = found.running.record.sandbox_id
        gone = self._leaving[sandbox_id] = asyncio.Event()
        try:
            await self._end(found.running)
        finally:
            self._leaving.pop(sandbox_id, None)
            gone.set()

    async def wait_gone(self, sandbox_id: str) -> None:
        """Return when no removal of that sandbox is under way: its name is free, or still taken."""
        if (leaving := self._leaving.get(sandbox_id)) is not None:
            await leaving.wait()

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """By the name of the sandbox. Idempotent."""
        for snapshot_id, found in list(self._kept.items()):
            if found.running.record.sandbox_id == sandbox_id:
                await self.remove(snapshot_id)

    async def clear(self) -> None:
        """End them all."""
        for snapshot_id in list(self._kept):
            await self.remove(snapshot_id)

    def _is_too_much(self) -> bool:
        used, total = memory_bytes(self._meminfo)
        kept = sum(found.memory_bytes for found in self._kept.values())
        return len(self._kept) > self._most or kept > total * self._share or total - used < total * _LEAST_AVAILABLE
