"""A node's core on the memory driver, put together as wiring does it, with everything in reach of the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbank.aiokit.tasks import TaskGroup
from sandbank.artifacts.builds import Build, StartCommand
from sandbank.domain.errors import SandbankError, UnavailableError
from sandbank.domain.identifiers import new_sandbox_id
from sandbank.orchestrator.core.adoption import adopt
from sandbank.orchestrator.core.create import Creation
from sandbank.orchestrator.core.events import LifecycleEvent
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.pause import Pausing
from sandbank.orchestrator.core.removal import Removal
from sandbank.orchestrator.core.sandbox import RunningSandbox, SandboxOrder
from sandbank.orchestrator.core.spares import Spares, SparesWish
from sandbank.orchestrator.core.status import StatusBoard
from tests.unit.orchestrator.memory_driver import MemoryDriver

BUILD = Build(build_id="build", template_id="base", layers=(Path("/layer"),), env_vars={"FROM": "build", "BOTH": "build"}, size_mib=400)


def new_order(**changes: object) -> SandboxOrder:
    values: dict[str, object] = {
        "sandbox_id": new_sandbox_id(),
        "execution_id": "execution",
        "team_id": "team",
        "template_id": "base",
        "build_id": "build",
        "lifetime": timedelta(minutes=5),
        "vcpu": 2,
        "memory_mib": 512,
        "disk_mib": 1024,
        "config": b"opaque",
    }
    return SandboxOrder(**{**values, **changes})  # type: ignore[arg-type]


class FakeClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class MemoryRecords:
    saved: dict[str, RunningSandbox] = field(default_factory=dict)
    broken: bool = False

    def save(self, sandbox: RunningSandbox) -> None:
        if self.broken:
            raise UnavailableError("no space left")
        self.saved[sandbox.sandbox_id] = sandbox

    def remove(self, sandbox_id: str) -> None:
        self.saved.pop(sandbox_id, None)

    def load_all(self) -> list[RunningSandbox]:
        return list(self.saved.values())


@dataclass
class MemoryRoutes:
    opened: set[str] = field(default_factory=set)

    def open(self, sandbox: RunningSandbox) -> None:
        self.opened.add(sandbox.sandbox_id)

    def close(self, sandbox_id: str) -> None:
        self.opened.discard(sandbox_id)


@dataclass
class MemoryEvents:
    emitted: list[LifecycleEvent] = field(default_factory=list)

    def emit(self, event: LifecycleEvent) -> None:
        self.emitted.append(event)

    def of(self, sandbox_id: str) -> list[str]:
        """What happened to one sandbox; kills with their reasons."""
        seen = (event for event in self.emitted if event.sandbox.sandbox_id == sandbox_id)
        return [event.kind if event.kill_reason is None else f"{event.kind}: {event.kill_reason}" for event in seen]


class MemoryBuilds:
    def __init__(self) -> None:
        self.published = {BUILD.build_id: BUILD}

    def find(self, build_id: str) -> Build | None:
        return self.published.get(build_id)

    def list_ids(self) -> list[str]:
        return sorted(self.published)

    def remove(self, build_id: str) -> None:
        self.published.pop(build_id, None)


class MemoryStarts:
    """Notes what is started where; `failure` is what becomes of it."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.failure: SandbankError | None = None

    async def start(self, sandbox_id: str, token: str | None, start: StartCommand, deadline_seconds: float) -> None:
        self.started.append((sandbox_id, start.command))
        if self.failure is not None:
            raise self.failure


class MemoryArtifacts:
    """What other nodes can get of this one, and what it gets of them: snapshots that `driver.kernel.shared` has."""

    def __init__(self, driver: MemoryDriver) -> None:
        self._driver = driver
        self.kept: list[str] = []
        self.forgotten: list[str] = []

    def keep(self, build_id: str) -> None:
        self.kept.append(build_id)

    def forget(self, build_id: str) -> None:
        self.forgotten.append(build_id)

    async def list_snapshots(self) -> set[str]:
        return set(self._driver.kernel.shared)

    async def fetch(self, build_id: str) -> bool:
        found = self._driver.kernel.shared.get(build_id)
        if found is not None:
            self._driver.kernel.snapshots[build_id] = found
        return found is not None


class Node:
    def __init__(
        self, driver: MemoryDriver, records: MemoryRecords | None = None, *, max_starts: int = 4, max_sandboxes: int = 1000
    ) -> None:
        self.driver = driver
        self.records = records or MemoryRecords()
        self.routes = MemoryRoutes()
        self.clock = FakeClock()
        self.errors: list[BaseException] = []
        self.tasks = TaskGroup("node", lambda name, error: self.errors.append(error))
        self.inventory = Inventory(max_sandboxes)
        self.status = StatusBoard(self.clock)
        self.events = MemoryEvents()
        self.removal = Removal(driver, self.inventory, self.records, self.routes, self.tasks, self.events, self.clock)
        self.artifacts = MemoryArtifacts(driver)
        self.builds = MemoryBuilds()
        self.starts = MemoryStarts()
        self.creation = Creation(
            driver=driver,
            inventory=self.inventory,
            status=self.status,
            builds=self.builds,
            starts=self.starts,
            spares=Spares(driver, SparesWish.parse("tpl=2"), self.tasks),
            artifacts=self.artifacts,
            records=self.records,
            routes=self.routes,
            removal=self.removal,
            events=self.events,
            volume_directory=lambda volume_id: Path("/volumes") / volume_id,
            clock=self.clock,
            max_starts=max_starts,
        )

        self.pausing = Pausing(
            driver=driver,
            inventory=self.inventory,
            records=self.records,
            routes=self.routes,
            tasks=self.tasks,
            events=self.events,
            clock=self.clock,
            artifacts=self.artifacts,
            builds=self.builds,
        )

    async def start(self) -> None:
        await adopt(self.driver, self.inventory, self.records, self.routes, self.removal)

    async def stop(self) -> None:
        await self.tasks.drain(5)
        await self.driver.close()

    def check_agrees(self) -> None:
        """Kernel, records, routes and list tell the same."""
        running = set(self.inventory.running)
        assert set(self.driver.kernel.sandboxes) == running
        assert set(self.records.saved) == running
        assert self.routes.opened == running
        assert not self.inventory.starting
        assert not self.driver.kernel.leftovers
        assert not self.errors
