"""What a context needs of a kernel, whichever way it speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from .events import Event


class KernelEndedError(Exception):
    """The kernel's process is no more; what it knew is lost."""


class KernelFailedError(Exception):
    """A kernel could not be started; the text is for the log and the client."""


class Kernel(Protocol):
    """A process that runs cells of one language, one after the other."""

    async def start(self, cwd: str) -> None:
        """Starts the process; raises `KernelFailedError`. Cancelled, it leaves no process."""

    def execute(self, code: str, *, silent: bool = False) -> AsyncIterator[Event]:
        """What a cell prints, returns and raises, in order; raises `KernelEndedError`. Silent ones count nothing and yield errors only.

        Whoever stops listening before its end must interrupt it and call `settle`.
        """

    async def interrupt(self) -> None:
        """Asks the cell to stop."""

    async def settle(self, seconds: float) -> bool:
        """Whether the cell that nobody listens to any more came to its end within this time."""

    def alive(self) -> bool:
        """Whether the process runs."""

    async def close(self) -> None:
        """Kills the process and all it left in its session. Idempotent."""
