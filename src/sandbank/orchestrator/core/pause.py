"""Pausing a sandbox: unreachable first, saved, and only then forgotten (contract data-plane §9.2)."""

from __future__ import annotations

import asyncio

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.artifacts.builds import memory_name
from sandbank.domain.errors import ConflictError, NotFoundError, SandbankError
from sandbank.orchestrator.core.events import CHECKPOINTED, PAUSED, LifecycleEvent
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import Artifacts, Builds, Clock, Events, Routes, SandboxRecords
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.runtime.driver import Driver


class Pausing:
    """Pauses sandboxes. A pause under way goes on whoever stops waiting for it; whoever asks for it again waits as well."""

    def __init__(
        self,
        *,
        driver: Driver,
        inventory: Inventory,
        records: SandboxRecords,
        routes: Routes,
        tasks: TaskGroup,
        events: Events,
        clock: Clock,
        artifacts: Artifacts,
        builds: Builds,
    ) -> None:
        self._driver = driver
        self._inventory = inventory
        self._records = records
        self._routes = routes
        self._tasks = tasks
        self._events = events
        self._clock = clock
        self._artifacts = artifacts
        self._builds = builds
        self._log = structlog.get_logger("sandbank.orchestrator")

    async def pause(self, sandbox_id: str, build_id: str, *, memory: bool = True) -> None:
        """Return when the sandbox has ended and its snapshot, named by the build, is on disk; also when that has been so before.

        `ConflictError` with the reason when it cannot be saved, `UnavailableError` when there is no room: it runs on and is routable.
        `NotFoundError` when there is no such sandbox.
        """
        pending = self._inventory.pausing.get(sandbox_id)
        if pending is None:
            if sandbox_id not in self._inventory.running:
                if self._driver.has_snapshot(build_id):
                    return  # the answer to an earlier call got lost
                raise NotFoundError(f"sandbox '{sandbox_id}' not found")
            self._routes.close(sandbox_id)
            task = self._tasks.start(f"pause.{sandbox_id}", self._pause(self._inventory.running[sandbox_id], build_id, memory))
            pending = self._inventory.pausing[sandbox_id] = (build_id, task)
            task.add_done_callback(lambda _: self._inventory.pausing.pop(sandbox_id, None))
        if pending[0] != build_id:
            raise ConflictError(f"sandbox '{sandbox_id}' is being paused already")
        if (error := await asyncio.shield(pending[1])) is not None:
            raise error

    async def checkpoint(self, sandbox_id: str, build_id: str, *, memory: bool = True) -> None:
        """Save a sandbox that runs on, under the name of that build. Errors as `pause`; while it is paused, `ConflictError`."""
        sandbox = self._inventory.running.get(sandbox_id)
        if sandbox is None:
            raise NotFoundError(f"sandbox '{sandbox_id}' not found")
        if sandbox_id in self._inventory.pausing:
            raise ConflictError(f"sandbox '{sandbox_id}' is being paused")
        await self._driver.checkpoint(sandbox_id, build_id, memory=memory)
        self._artifacts.keep(build_id)
        self._events.emit(LifecycleEvent(CHECKPOINTED, self._clock(), self._inventory.running.get(sandbox_id, sandbox)))
        self._log.info("sandbox saved", sandbox_id=sandbox_id, build_id=build_id)

    async def forget(self, build_id: str) -> None:
        """Remove a snapshot or a template's build, also where it is shared. Idempotent."""
        names = [build_id, memory_name(build_id)] if build_id in self._builds.list_ids() else [build_id]
        self._builds.remove(build_id)
        for name in names:
            await self._driver.remove_snapshot(name)
            self._artifacts.forget(name)

    async def saved(self, *, shared: bool) -> set[str]:
        """The snapshots and builds of this node, or the shared storage's snapshots; `UnavailableError` if that does not answer."""
        return await self._artifacts.list_snapshots() if shared else {*self._driver.snapshot_names(), *self._builds.list_ids()}

    async def _pause(self, sandbox: RunningSandbox, build_id: str, memory: bool) -> SandbankError | None:
        """What everybody who waits is told; the sandbox runs on unless that is nothing."""
        sandbox_id = sandbox.sandbox_id
        try:
            await self._driver.pause(sandbox_id, build_id, memory=memory)
        except SandbankError as error:
            if sandbox_id not in self._inventory.running:
                return NotFoundError(f"sandbox '{sandbox_id}' not found")
            self._routes.open(self._inventory.running[sandbox_id])
            self._log.warning("sandbox not paused", sandbox_id=sandbox_id, error=error.message)
            return error
        self._artifacts.keep(build_id)
        paused = self._inventory.running.pop(sandbox_id, sandbox)
        try:
            self._records.remove(sandbox_id)
        except SandbankError as error:
            # Not fatal: at the next start nothing runs under this record, which removes it then.
            self._log.warning("record not removed", sandbox_id=sandbox_id, error=error.message)
        self._events.emit(LifecycleEvent(PAUSED, self._clock(), paused))
        self._log.info("sandbox paused", sandbox_id=sandbox_id, build_id=build_id)
        return None
