"""Long work in one thread: done in slices, so that other requests get their turn.

Threads would cost every sandbox a stack and memory snapshots their simplicity; the page cache makes most file operations short.
"""

from __future__ import annotations

import asyncio

STEPS_PER_SLICE = 128


class Slicer:
    """Counts steps and lets the loop run after every slice."""

    def __init__(self, steps: int = STEPS_PER_SLICE) -> None:
        self._steps = steps
        self._left = steps

    async def step(self) -> None:
        """One step is done. A cancelled caller stops here, between two steps."""
        self._left -= 1
        if self._left <= 0:
            self._left = self._steps
            await asyncio.sleep(0)
