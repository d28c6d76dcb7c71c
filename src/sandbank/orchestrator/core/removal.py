"""Ending sandboxes: unreachable first, forgotten next, removed in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.orchestrator.core.events import killed
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import Clock, Events, Routes, SandboxRecords
from sandbank.runtime.driver import Driver, SandboxExit

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0


class Removal:
    """Ends sandboxes for whatever reason. The removals are tasks of `tasks`, never of the request that asked for them."""

    def __init__(
        self,
        driver: Driver,
        inventory: Inventory,
        records: SandboxRecords,
        routes: Routes,
        tasks: TaskGroup,
        events: Events,
        clock: Clock,
    ) -> None:
        self._driver = driver
        self._inventory = inventory
        self._records = records
        self._routes = routes
        self._tasks = tasks
        self._events = events
        self._clock = clock
        self._log = structlog.get_logger("sandbank.orchestrator")

    def delete(self, sandbox_id: str, reason: str, execution_id: str | None = None) -> None:
        """Unreachable and no longer listed when it returns. `NotFoundError` when there is no such sandbox, or not in that execution.

        One that is only starting is doomed: its create fails as soon as the driver lets it, and leaves nothing.
        """
        start = self._inventory.starting.get(sandbox_id)
        current = start or self._inventory.running.get(sandbox_id)
        if current is None or execution_id not in (None, current.execution_id):
            raise NotFoundError(f"sandbox '{sandbox_id}' not found")
        if start is not None:
            start.doom = "sandbox was killed while it started"
        else:
            self.discard(sandbox_id, reason)
        self._log.info("sandbox deleted", sandbox_id=sandbox_id, reason=reason)

    def on_exit(self, ended: SandboxExit) -> None:
        """A sandbox ended by itself. Called by the driver, in the loop."""
        start = self._inventory.starting.get(ended.sandbox_id)
        running = self._inventory.running.get(ended.sandbox_id)
        if start is not None and start.execution_id == ended.execution_id:
            start.doom = f"sandbox ended while it started: {ended.reason}"
        elif running is not None and running.execution_id == ended.execution_id:
            self.discard(ended.sandbox_id, "unknown")
        else:
            return
        self._log.warning("sandbox ended by itself", sandbox_id=ended.sandbox_id, reason=ended.reason, at=ended.at.isoformat())

    def discard(self, sandbox_id: str, reason: str) -> None:
        """Unroutable, off the list and off the record when it returns; the rest goes in the background. Idempotent."""
        self._routes.close(sandbox_id)
        sandbox = self._inventory.running.pop(sandbox_id, None)
        if sandbox is not None:
            self._events.emit(killed(sandbox, reason, self._clock()))
        try:
            self._records.remove(sandbox_id)
        except SandbankError as error:
            # Not fatal: at the next start nothing runs under this record, which removes it then.
            self._log.warning("record not removed", sandbox_id=sandbox_id, error=error.message)
        self.kill(sandbox_id)

    def note_lost(self, sandbox_id: str) -> None:
        """Forget a sandbox that did not outlive our absence. Nobody can tell when it ended or why."""
        sandbox = self._inventory.running.pop(sandbox_id)
        self._records.remove(sandbox_id)
        self._events.emit(killed(sandbox, "unknown", self._clock()))

    def kill(self, sandbox_id: str) -> asyncio.Task[None]:
        """Have the driver remove it, in the background; a removal under way is joined."""
        task = self._inventory.ending.get(sandbox_id)
        if task is None:
            task = self._tasks.start(f"kill.{sandbox_id}", self._kill(sandbox_id))
            self._inventory.ending[sandbox_id] = task
            task.add_done_callback(self._ended(sandbox_id))
        return task

    def _ended(self, sandbox_id: str) -> Callable[[asyncio.Task[None]], None]:
        def ended(_: asyncio.Task[None]) -> None:
            self._inventory.ending.pop(sandbox_id, None)

        return ended

    async def _kill(self, sandbox_id: str) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._driver.kill(sandbox_id)
                return
            except Exception as error:  # noqa: BLE001  # retry loop
                self._log.error("sandbox not removed", sandbox_id=sandbox_id, attempt=attempt, error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)
