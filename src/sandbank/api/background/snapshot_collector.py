"""Has nodes and their storage let go of snapshots that nobody can ask for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandbank.api.core.unknown_snapshots import UnknownSnapshots
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 1800.0


class SnapshotCollector:
    """Looks twice an hour. Several APIs may do so at once: what one has removed the others no longer find."""

    name = "snapshot-collector"

    def __init__(
        self, snapshots: UnknownSnapshots, on_removed: Callable[[int], None], on_error: Callable[[str, BaseException], None]
    ) -> None:
        self._snapshots = snapshots
        self._on_removed = on_removed
        self._on_error = on_error

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                if removed := await self._snapshots.look():
                    self._on_removed(removed)
            except SandbankError as error:
                self._on_error(self.name, error)
