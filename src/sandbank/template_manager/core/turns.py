"""Who builds next: some at a time, and no team keeps all others waiting with builds that take for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """`at_once` builds at a time, of one team one less if there are several; of those who wait, whose team has fewest comes first."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._most_of_one = max(1, at_once - 1)
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def take(self, team_id: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the block lasts."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((team_id, turn))
        self._admit()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._running[team_id] -= 1
            else:
                self._waiting.remove((team_id, turn))
            self._admit()

    def _admit(self) -> None:
        while self._running.total() < self._at_once:
            able = [entry for entry in self._waiting if self._running[entry[0]] < self._most_of_one and not entry[1].done()]
            if not able:
                return
            entry = min(able, key=lambda waiting: self._running[waiting[0]])  # the first of equals: they wait in their order
            self._waiting.remove(entry)
            self._running[entry[0]] += 1
            entry[1].set_result(None)
