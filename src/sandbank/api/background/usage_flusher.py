"""Writes usage counters now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 1.0


class Counters(Protocol):
    """What collects."""

    async def flush(self) -> None: ...


class UsageFlusher:
    """Flushes once a second; a database that is away for a while loses nothing."""

    name = "usage-flusher"

    def __init__(self, counters: Counters, on_error: Callable[[str, BaseException], None]) -> None:
        self._counters = counters
        self._on_error = on_error

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Once; a failure is reported, not raised."""
        try:
            await self._counters.flush()
        except SandbankError as error:
            self._on_error("usage-flusher", error)
