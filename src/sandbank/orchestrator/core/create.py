"""Creating a sandbox (contract data-plane §9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from sandbank.aiokit.tasks import finish
from sandbank.artifacts.builds import Build, memory_name
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InternalError,
    InvalidError,
    SandbankError,
    UnavailableError,
)
from sandbank.orchestrator.core.events import CREATED, RESUMED, LifecycleEvent
from sandbank.orchestrator.core.inventory import Inventory, Start
from sandbank.orchestrator.core.ports import Artifacts, Builds, Clock, Events, Routes, SandboxRecords, Starts
from sandbank.orchestrator.core.removal import Removal
from sandbank.orchestrator.core.sandbox import RunningSandbox, SandboxOrder, limits_of, running_from
from sandbank.orchestrator.core.spares import Spares
from sandbank.orchestrator.core.status import StatusBoard
from sandbank.runtime.driver import AgentInit, Driver, SandboxSpec, VolumeMount

DEADLINE_SECONDS = 60.0  # contract data-plane §9.2


class Creation:
    """Creates sandboxes, `max_starts` at a time and in the order they came: a burst waits its turn instead of failing."""

    def __init__(
        self,
        *,
        driver: Driver,
        inventory: Inventory,
        status: StatusBoard,
        builds: Builds,
        artifacts: Artifacts,
        starts: Starts,
        spares: Spares,
        records: SandboxRecords,
        routes: Routes,
        removal: Removal,
        events: Events,
        clock: Clock,
        volume_directory: Callable[[str], Path],
        max_starts: int,
    ) -> None:
        self._driver = driver
        self._inventory = inventory
        self._status = status
        self._builds = builds
        self._artifacts = artifacts
        self._starts = starts
        self._spares = spares
        self._records = records
        self._routes = routes
        self._removal = removal
        self._events = events
        self._clock = clock
        self._volume_directory = volume_directory
        self._turns = asyncio.Semaphore(max_starts)
        self._log = structlog.get_logger("sandbank.orchestrator")

    async def create(self, order: SandboxOrder) -> RunningSandbox:
        """Return the sandbox once its agent has answered, it is recorded on disk, routable and listed.

        Raises domain errors. Cancelled or failed, nothing of the sandbox is left, or its removal is under way in the background.
        """
        self._status.check_takes_sandboxes()
        start = Start(order.execution_id, order.vcpu, order.memory_mib)
        self._inventory.begin(order.sandbox_id, start)
        try:
            await self._find(order)
            await self._boot(order, self._plan(order), start)
            # From here to the end nothing awaits, so nothing can be cancelled halfway.
            return self._admit(order, start)
        finally:
            del self._inventory.starting[order.sandbox_id]

    async def _find(self, order: SandboxOrder) -> None:
        """Have its files here, if anybody has them, and the memory of what its template starts with."""
        if order.resumes:
            if not self._driver.has_snapshot(order.build_id):
                await self._artifacts.fetch(order.build_id)
            return
        build = self._builds.find(order.build_id)
        if build is None and await self._artifacts.fetch(order.build_id):
            build = self._builds.find(order.build_id)
        if build is not None and build.start is not None and not self._driver.has_snapshot(memory_name(build.build_id)):
            await self._artifacts.fetch(memory_name(build.build_id))

    def boots(self, order: SandboxOrder) -> bool:
        """Whether what was created started from the files of a snapshot, and without its memory."""
        return order.resumes and (order.boots or not self._driver.has_memory(order.build_id))

    def _plan(self, order: SandboxOrder) -> SandboxSpec:
        build = None if order.resumes else self._builds.find(order.build_id)
        if build is None and not (order.resumes and self._driver.has_snapshot(order.build_id)):
            raise ConflictError(f"sandbox files for '{order.sandbox_id}' not found")
        return self._spec(order, build)

    async def _boot(self, order: SandboxOrder, spec: SandboxSpec, start: Start) -> None:
        waiting = True
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._turns:
                waiting = False
                if (removing := self._inventory.ending.get(order.sandbox_id)) is not None:
                    await asyncio.wait({removing})
                _check_not_doomed(start)
                await self._create(order, spec)
        except TimeoutError as error:
            if waiting:
                raise ExhaustedError("too many sandboxes starting on this node, please retry") from error
            raise DeadlineError(f"failed to create sandbox: not ready within {DEADLINE_SECONDS:.0f} seconds") from error
        except InternalError as error:
            raise InternalError(f"failed to create sandbox: {error.message}") from error

    async def _create(self, order: SandboxOrder, spec: SandboxSpec) -> None:
        """With what its template starts with running: from memory, or where that cannot be, started now."""
        build = None if order.resumes else self._builds.find(order.build_id)
        if build is None or build.start is None or not build.start.command:
            await self._driver.create(spec)
            return
        # Its memory knows of no volumes: then it boots, and starts what it starts with them there.
        if not spec.volumes and self._driver.has_memory(memory_name(build.build_id)):
            try:
                await self._driver.create(replace(spec, snapshot_id=memory_name(build.build_id)))
                self._spares.used(spec, memory_name(build.build_id))
                return
            except (UnavailableError, InternalError, ConflictError) as error:
                self._log.warning(
                    "a template's memory was not used", sandbox_id=order.sandbox_id, build_id=build.build_id, error=error.message
                )
        await self._driver.create(spec)
        try:
            await self._starts.start(order.sandbox_id, order.access_token, build.start, DEADLINE_SECONDS)
        except BaseException as error:
            await finish(self._driver.kill(order.sandbox_id))
            if isinstance(error, InvalidError):
                raise InternalError(error.message) from error
            raise

    def _admit(self, order: SandboxOrder, start: Start) -> RunningSandbox:
        try:
            _check_not_doomed(start)
            sandbox = running_from(order, self._clock())
            self._records.save(sandbox)
            self._routes.open(sandbox)
        except SandbankError:
            self._removal.discard(order.sandbox_id, "unknown")
            raise
        self._inventory.running[order.sandbox_id] = sandbox
        self._events.emit(LifecycleEvent(RESUMED if order.resumes else CREATED, sandbox.started_at, sandbox))
        said = "sandbox resumed" if order.resumes else "sandbox created"
        self._log.info(
            said,
            sandbox_id=order.sandbox_id,
            template_id=order.template_id,
            end_at=sandbox.end_at.isoformat(),
        )
        return sandbox

    def _spec(self, order: SandboxOrder, build: Build | None) -> SandboxSpec:
        return SandboxSpec(
            sandbox_id=order.sandbox_id,
            template_id=order.template_id,
            execution_id=order.execution_id,
            layers=() if build is None else build.layers,
            limits=limits_of(order, 0 if build is None else build.size_mib),
            init=_init(order, build),
            egress=order.egress,
            volumes=tuple(VolumeMount(self._volume_directory(volume_id), path) for volume_id, path in order.volumes),
            snapshot_id=order.build_id if build is None else None,
            boots=order.boots,
        )


def _init(order: SandboxOrder, build: Build | None) -> AgentInit:
    if build is None:  # the agent has not forgotten what it was told
        return AgentInit(order.access_token, dict(order.env_vars))
    return AgentInit(
        access_token=order.access_token,
        env_vars={**build.env_vars, **order.env_vars},
        default_user=order.default_user or build.default_user,
        default_workdir=order.default_workdir or build.default_workdir,
    )


def _check_not_doomed(start: Start) -> None:
    if start.doom is not None:
        raise ConflictError(start.doom)
