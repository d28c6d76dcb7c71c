"""Ends sandboxes whose time has come (data-plane contract §10.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.expire import SandboxExpirer
from sandbank.domain.errors import SandbankError
from sandbank.domain.sandbox import Sandbox

_PERIOD_SECONDS = 0.05
_PAUSE_SECONDS = 0.5
_AT_ONCE = 256
_RETRY = timedelta(seconds=1)


class Expirations(Protocol):
    """Who expires next."""

    async def expired(self, now: datetime, limit: int, retry_at: datetime) -> Sequence[Sandbox]: ...


class Evictor:
    """Looks twenty times a second. One that cannot be ended now is tried again each second, and holds up no other."""

    name = "evictor"

    def __init__(
        self,
        expirations: Expirations,
        expirer: SandboxExpirer,
        clock: Callable[[], datetime],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._expirations = expirations
        self._expirer = expirer
        self._clock = clock
        self._on_error = on_error
        self._is_away = False
        self._tasks = TaskGroup("evictor", on_error)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.sweep()
                except SandbankError as error:
                    self._complain(error)
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    self._is_away = False
                await asyncio.sleep(_PERIOD_SECONDS)
        finally:
            await self._tasks.close()

    def _complain(self, error: SandbankError) -> None:
        if not self._is_away:  # say it once
            self._is_away = True
            self._on_error(self.name, error)

    async def sweep(self) -> None:
        """Start ending what is due."""
        now = self._clock()
        for sandbox in await self._expirations.expired(now, _AT_ONCE, now + _RETRY):
            self._tasks.start("expire", self._expirer.expire(sandbox))
