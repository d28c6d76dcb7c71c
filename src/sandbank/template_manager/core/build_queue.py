"""The builds of a node: accepted, run a few at a time, looked at, called off; begun again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.template_manager.core.build_log import ERROR, BuildLog, LogEntry, LogPage
from sandbank.template_manager.core.order import BuildOrder
from sandbank.template_manager.core.phase_error import PhaseError
from sandbank.template_manager.core.turns import Turns

INTERNAL = "An internal error occurred. Please try again or contact support with the build ID."
CANCELLED = "build was cancelled"
_KEEP_SECONDS = 15 * 60.0  # contract templates-and-data §1.6: ten minutes at least
_TIMEOUT_SECONDS = 3600.0


class BuildState(Enum):
    """Where a build is."""

    BUILDING = "building"
    FAILED = "failed"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why, and at which step if the recipe is to blame."""

    message: str
    step: str | None = None


@dataclass(slots=True)
class _Build:
    order: BuildOrder
    log: BuildLog
    state: BuildState = BuildState.BUILDING
    failure: Failure | None = None
    size_mib: int = 0
    ended_at: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """What somebody who asks is told. `size_mib` is that of a completed one's files, `disk_mib` what sandboxes may write besides."""

    state: BuildState
    failure: Failure | None
    size_mib: int
    disk_mib: int
    entries: Sequence[LogEntry]


class Orders(Protocol):
    """Orders of builds that are not done, on the node's disk. Methods block."""

    def save(self, order: BuildOrder) -> None: ...

    def remove(self, build_id: str) -> None: ...

    def load_all(self) -> Sequence[BuildOrder]: ...


Run = Callable[[BuildOrder, BuildLog], Awaitable[int]]
Discard = Callable[[str], Awaitable[None]]


class BuildQueue:
    """All builds of one node. `run` does one and gives its size in MiB; `discard` removes what a failed one has left under its name."""

    def __init__(
        self,
        *,
        run: Run,
        discard: Discard,
        orders: Orders,
        find_size: Callable[[str], int | None],
        on_entry: Callable[[BuildOrder, LogEntry], None],
        at_once: int,
    ) -> None:
        self._run = run
        self._discard = discard
        self._orders = orders
        self._find_size = find_size
        self._on_entry = on_entry
        self._turns = Turns(at_once)
        self._builds: dict[str, _Build] = {}
        self._logger = structlog.get_logger("sandbank.template_manager")
        self._tasks = TaskGroup("builds", lambda task, error: self._logger.error("failed", task=task, exc_info=error))
        self._is_stopping = False

    def start(self) -> None:
        """Begin again what was not done when this node was last stopped; steps that were done are not repeated."""
        for order in self._orders.load_all():
            self._logger.info("build begun again", build_id=order.build_id, template_id=order.template_id)
            self._begin(order)

    async def stop(self) -> None:
        """Break off what runs; it is begun again by the next `start`."""
        self._is_stopping = True
        await self._tasks.close()

    async def accept(self, order: BuildOrder) -> None:
        """It is on disk and on its way when this returns. `ConflictError` for one that was accepted before."""
        self._forget_old()
        if order.build_id in self._builds:
            raise ConflictError(f"build {order.build_id} has been started before")
        await asyncio.to_thread(self._orders.save, order)
        self._begin(order)

    def status(self, build_id: str, page: LogPage) -> BuildStatus:
        """`NotFoundError` for one that this node does not know, or not any more."""
        self._forget_old()
        build = self._builds.get(build_id)
        if build is not None:
            return BuildStatus(build.state, build.failure, build.size_mib, build.order.disk_mib, build.log.page(page))
        size_mib = self._find_size(build_id)
        if size_mib is None:
            raise NotFoundError(f"build {build_id} is not known to this node")
        return BuildStatus(BuildState.COMPLETED, None, size_mib, 0, ())

    async def cancel(self, build_id: str) -> None:
        """Have it be failed and gone, whatever it was. Idempotent."""
        build = self._builds.get(build_id)
        if build is not None and build.state is BuildState.BUILDING and build.task is not None:
            self._fail(build, Failure(CANCELLED))
            build.task.cancel()
            await asyncio.wait({build.task})
        elif build is not None and build.state is BuildState.COMPLETED:
            del self._builds[build_id]
        await asyncio.to_thread(self._orders.remove, build_id)
        await self._discard(build_id)

    def _begin(self, order: BuildOrder) -> None:
        build = _Build(order, BuildLog(lambda entry: self._on_entry(order, entry)))
        self._builds[order.build_id] = build
        build.task = self._tasks.start(f"build {order.build_id}", self._work(build))

    async def _work(self, build: _Build) -> None:
        order = build.order
        try:
            async with self._turns.take(order.scope), asyncio.timeout(_TIMEOUT_SECONDS):
                size_mib = await self._run(order, build.log)
            build.size_mib = size_mib
            self._end(build, BuildState.COMPLETED)
        except asyncio.CancelledError:
            if build.state is BuildState.BUILDING:
                raise  # the node stops
        except PhaseError as error:
            self._fail(build, Failure(error.message, error.step))
        except TimeoutError:
            self._fail(build, Failure("build timed out"))
        except Exception:
            self._logger.exception("build failed", build_id=order.build_id)
            self._fail(build, Failure(INTERNAL))
        if build.state is BuildState.FAILED:
            await self._discard(order.build_id)
        await asyncio.to_thread(self._orders.remove, order.build_id)

    def _fail(self, build: _Build, failure: Failure) -> None:
        with contextlib.suppress(Exception):
            fields = {} if failure.step is None else {"step": failure.step}
            build.log.write(ERROR, f"Build failed: {failure.message}", fields)
        build.failure = failure
        self._end(build, BuildState.FAILED)

    def _end(self, build: _Build, state: BuildState) -> None:
        build.state, build.ended_at = state, time.monotonic()
        said = None if build.failure is None else build.failure.message[:200]
        self._logger.info("build ended", build_id=build.order.build_id, state=state.value, reason=said)

    def _forget_old(self) -> None:
        before = time.monotonic() - _KEEP_SECONDS
        for build_id, build in list(self._builds.items()):
            if build.state is not BuildState.BUILDING and build.ended_at < before:
                del self._builds[build_id]
