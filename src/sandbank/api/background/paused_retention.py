"""Kills paused sandboxes that nobody has resumed for as long as a deployment keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sandbank.api.core.kill import SandboxKiller
from sandbank.domain.errors import SandbankError
from sandbank.domain.sandbox import Sandbox

_PERIOD_SECONDS = 600.0
_AT_ONCE = 100


class OldSaves(Protocol):
    """Which were saved long ago; see `sandbank.api.core.ports.Snapshots`."""

    async def list_saved_before(self, moment: datetime, after: str, limit: int) -> Sequence[str]: ...


class PausedRetention:
    """Looks every ten minutes, if there is an end to keeping at all. Snapshots that were taken as templates are none of its business."""

    name = "paused-retention"

    def __init__(
        self,
        saves: OldSaves,
        killer: SandboxKiller,
        kept_for: timedelta,
        clock: Callable[[], datetime],
        on_event: Callable[[str, Sandbox], None],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._saves = saves
        self._killer = killer
        self._kept_for = kept_for
        self._clock = clock
        self._on_event = on_event
        self._on_error = on_error

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)  # first: nodes that were away at the start have told by then what runs
            await self.sweep()

    async def sweep(self) -> None:
        """Once; what cannot be killed now is left for the next time. A failure is reported, not raised."""
        if not self._kept_for:
            return
        moment, after = self._clock() - self._kept_for, ""
        try:
            while found := await self._saves.list_saved_before(moment, after, _AT_ONCE):
                for sandbox_id in found:
                    if (killed := await self._killer.kill_saved_before(sandbox_id, moment)) is not None:
                        self._on_event("paused sandbox killed: kept for long enough", killed)
                after = found[-1]
        except SandbankError as error:
            self._on_error(self.name, error)
