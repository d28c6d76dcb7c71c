"""A read-through cache for what every request needs and hardly ever changes (REST contract §3.4)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sandbank.aiokit.tasks import TaskGroup

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_FRESH_SECONDS = 60.0
_KEPT_SECONDS = 300.0
# Misses are kept just long enough to take the edge off a client in a loop: what is missing now may be made the next moment.
_MISSING_SECONDS = 1.0
_CAPACITY = 10_000


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    loaded_at: float
    refreshing: bool = False


class RefreshingCache(Generic[K, V]):
    """Values are served for five minutes and reloaded in the background after one. Concurrent misses of a key load it once."""

    def __init__(self, load: Callable[[K], Awaitable[V | None]], tasks: TaskGroup, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._tasks = tasks
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        # Apart, so that strangers who make up keys push nobody out.
        self._missing: OrderedDict[K, float] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V | None]] = {}

    async def get(self, key: K) -> V | None:
        """The value, or `None` if there is none; raises what loading raises."""
        missing_at = self._missing.get(key)
        if missing_at is not None and self._clock() - missing_at < _MISSING_SECONDS:
            return None
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            age = self._clock() - entry.loaded_at
            if age < _FRESH_SECONDS:
                return entry.value
            if age < _KEPT_SECONDS:
                if not entry.refreshing:
                    entry.refreshing = True
                    self._start(key)
                return entry.value
        return await asyncio.shield(self._loading.get(key) or self._start(key))

    def invalidate(self, key: K) -> None:
        """Make the next `get` load; a load in flight is not trusted either."""
        self._entries.pop(key, None)
        self._missing.pop(key, None)
        self._loading.pop(key, None)

    def clear(self) -> None:
        """Invalidate everything."""
        self._entries.clear()
        self._missing.clear()
        self._loading.clear()

    def _start(self, key: K) -> asyncio.Task[V | None]:
        task = self._tasks.start("load", self._fill(key))
        self._loading[key] = task
        return task

    async def _fill(self, key: K) -> V | None:
        this = asyncio.current_task()
        try:
            value = await self._load(key)
            if self._loading.get(key) is this:
                self._entries.pop(key, None)
                self._missing.pop(key, None)
                if value is None:
                    self._missing[key] = self._clock()
                else:
                    self._entries[key] = _Entry(value, self._clock())
                for kept in (self._entries, self._missing):
                    while len(kept) > _CAPACITY:
                        kept.popitem(last=False)
            return value
        finally:
            if self._loading.get(key) is this:
                del self._loading[key]
            if (entry := self._entries.get(key)) is not None:
                entry.refreshing = False
