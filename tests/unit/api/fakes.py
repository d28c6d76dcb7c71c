"""Verified stand-ins for the core's ports: nodes, routes, templates and counters in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.checkpoint import Checkpointer
from sandbank.api.core.create import SandboxCreator
from sandbank.api.core.egress import EgressWish
from sandbank.api.core.expire import SandboxExpirer
from sandbank.api.core.extend import SandboxExtender
from sandbank.api.core.fork import SandboxForker
from sandbank.api.core.kill import SandboxKiller
from sandbank.api.core.launch import SandboxLauncher
from sandbank.api.core.listing import SandboxLister
from sandbank.api.core.network_options import NetworkChecker, NetworkFeatures
from sandbank.api.core.network_update import NetworkUpdater
from sandbank.api.core.pagination import in_order, page
from sandbank.api.core.pause import SandboxPauser
from sandbank.api.core.paused import PausedSandboxes
from sandbank.api.core.ports import NodeLoad, PausedQuery
from sandbank.api.core.reconcile import NodeReport
from sandbank.api.core.resume import SandboxResumer
from sandbank.api.core.snapshot import Snapshot
from sandbank.api.core.start import SandboxStart, Started, record
from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.api.core.volumes import Volume, VolumeRules, Volumes, too_many
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from sandbank.domain.template_reference import TemplateReference
from sandbank.state.memory_sandbox_store import MemorySandboxStore
from sandbank.state.sandbox_store import SandboxStore
from tests.unit.api.made import NOON, TEMPLATE


class FakeClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class FakeNodes:
    """Nodes that run sandboxes in name only."""

    def __init__(self, clock: FakeClock, *node_ids: str) -> None:
        self.clock = clock
        self.loads = [NodeLoad(node_id, 2, 0, 0, 0.0) for node_id in node_ids or ("n1",)]
        self.running: dict[str, Sandbox] = {}
        self.wishes: dict[str, EgressWish] = {}
        self.starts: dict[str, SandboxStart] = {}
        self.calls: list[tuple[str, ...]] = []
        self.failures: dict[str, list[SandbankError]] = {}
        self.gate: asyncio.Event | None = None
        self.abandoned: set[str] = set()
        self.delete_error: SandbankError | None = None
        self.saves: set[str] = set()
        self.without_memory: set[str] = set()
        self.pause_errors: list[SandbankError] = []
        self.pause_gate: asyncio.Event | None = None

    def candidates(self) -> Sequence[NodeLoad]:
        return self.loads

    async def create(self, node_id: str, start: SandboxStart, execution_id: str) -> Started:
        self.calls.append(("create", node_id))
        if self.gate is not None:
            await self.gate.wait()
        if self.failures.get(node_id):
            raise self.failures[node_id].pop(0)
        started = Started(self.clock.now, self.clock.now + timedelta(seconds=start.timeout_seconds))
        self.wishes[start.sandbox_id] = start.egress
        self.starts[start.sandbox_id] = start
        self.running[start.sandbox_id] = record(start, started, node_id, execution_id)
        return started

    async def set_end(self, node_id: str, sandbox_id: str, end_at: datetime) -> None:
        self.calls.append(("set_end", node_id, end_at.isoformat()))
        if sandbox_id not in self.running:
            raise NotFoundError("sandbox not found")

    async def set_egress(self, sandbox: Sandbox, wish: EgressWish, allow_internet_access: bool | None) -> None:
        self.calls.append(("set_egress", sandbox.node_id))
        if self.failures.get(sandbox.node_id):
            raise self.failures[sandbox.node_id].pop(0)
        if sandbox.sandbox_id not in self.running:
            raise NotFoundError("sandbox not found")
        self.running[sandbox.sandbox_id] = sandbox
        self.wishes[sandbox.sandbox_id] = wish

    async def delete(self, node_id: str, sandbox_id: str, execution_id: str, reason: str) -> None:
        self.calls.append(("delete", node_id, reason))
        await asyncio.sleep(0)
        if self.delete_error is not None:
            raise self.delete_error
        if (found := self.running.get(sandbox_id)) is None or found.execution_id != execution_id:
            raise NotFoundError("sandbox not found")
        del self.running[sandbox_id]

    async def pause(self, sandbox: Sandbox, env_id: str, build_id: str) -> None:
        self.calls.append(("pause", sandbox.node_id))
        if self.pause_gate is not None:
            await self.pause_gate.wait()
        if self.pause_errors:
            raise self.pause_errors.pop(0)
        if build_id in self.saves and sandbox.sandbox_id not in self.running:
            return
        if self.running.pop(sandbox.sandbox_id, None) is None:
            raise NotFoundError("sandbox not found")
        self.saves.add(build_id)
        if not sandbox.has_memory:
            self.without_memory.add(build_id)

    async def checkpoint(self, sandbox: Sandbox, build_id: str) -> None:
        self.calls.append(("checkpoint", sandbox.node_id))
        if self.pause_gate is not None:
            await self.pause_gate.wait()
        if self.pause_errors:
            raise self.pause_errors.pop(0)
        if sandbox.sandbox_id not in self.running:
            raise NotFoundError("sandbox not found")
        self.saves.add(build_id)
        if not sandbox.has_memory:
            self.without_memory.add(build_id)

    def discard(self, node_id: str, build_id: str) -> None:
        self.saves.discard(build_id)

    def abandon(self, node_id: str, sandbox_id: str, execution_id: str) -> None:
        self.abandoned.add(execution_id)
        self.running.pop(sandbox_id, None)

    def is_abandoned(self, execution_id: str) -> bool:
        return execution_id in self.abandoned

    def node_id(self, address: str) -> str | None:
        return address

    async def report(self, address: str) -> NodeReport:
        running = {sandbox_id: sandbox for sandbox_id, sandbox in self.running.items() if sandbox.node_id == address}
        return NodeReport(address, {sandbox_id: sandbox.execution_id for sandbox_id, sandbox in running.items()}, running.__getitem__)


class FakeSnapshots:
    """Saves in memory, by sandbox, oldest first."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.saves: dict[str, list[Snapshot]] = {}
        self.error: SandbankError | None = None

    async def begin(self, sandbox: Sandbox, build_id: str) -> str:
        if self.error is not None:
            raise self.error
        kept = replace(sandbox, state=SandboxState.PAUSED, end_at=self.clock())
        self.saves.setdefault(sandbox.sandbox_id, []).append(Snapshot(kept, f"env-{sandbox.sandbox_id}", build_id, is_ready=False))
        return f"env-{sandbox.sandbox_id}"

    async def finish(self, build_id: str, *, is_ready: bool) -> Sequence[tuple[str, str]]:
        if self.error is not None:
            raise self.error
        for sandbox_id, saves in self.saves.items():
            place = next((place for place, save in enumerate(saves) if save.build_id == build_id), None)
            if place is None:
                continue
            before, this, after = saves[:place], saves[place], saves[place + 1 :]
            self.saves[sandbox_id] = [replace(this, is_ready=True), *after] if is_ready else [*before, *after]
            return [(save.sandbox.node_id, save.build_id) for save in before] if is_ready else []
        return []

    async def find(self, sandbox_id: str) -> Snapshot | None:
        return next(iter(reversed(self.saves.get(sandbox_id, []))), None)

    async def list_team(self, team_id: str, query: PausedQuery) -> Sequence[Sandbox]:
        found = [[save.sandbox for save in saves if save.is_ready][-1:] for saves in self.saves.values()]
        ordered = in_order([one for ready in found for one in ready if one.team_id == team_id], ascending=query.ascending)
        return page(ordered, query.after, query.limit, ascending=query.ascending)[0]

    async def list_unfinished(self) -> Sequence[str]:
        return [sandbox_id for sandbox_id, saves in self.saves.items() if saves and not saves[-1].is_ready]

    async def list_saved_before(self, moment: datetime, after: str, limit: int) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        newest = {sandbox_id: saves[-1] for sandbox_id, saves in self.saves.items() if sandbox_id > after}
        return sorted(sandbox_id for sandbox_id, one in newest.items() if one.is_ready and one.sandbox.end_at < moment)[:limit]

    async def delete(self, sandbox_id: str) -> Sequence[tuple[str, str]]:
        await asyncio.sleep(0)
        return [(save.sandbox.node_id, save.build_id) for save in self.saves.pop(sandbox_id, [])]


class FakeRoutes:
    """Routes, and whether they may be written."""

    def __init__(self) -> None:
        self.routes: dict[str, Sandbox] = {}
        self.error: SandbankError | None = None

    async def put(self, sandbox: Sandbox) -> None:
        if self.error is not None:
            raise self.error
        self.routes[sandbox.sandbox_id] = sandbox

    async def remove(self, sandbox: Sandbox) -> None:
        self.routes.pop(sandbox.sandbox_id, None)


class FakeTemplates:
    """One template called `base`, whose name answers to `ready`."""

    def __init__(self, template: Template = TEMPLATE) -> None:
        self.template = template

    async def get(self, team: Team, reference: TemplateReference) -> Template:
        if reference.identifier != "base":
            raise NotFoundError(f"template '{reference}' not found")
        return self.template

    async def find_template_id(self, team: Team, reference: TemplateReference) -> str | None:
        return self.template.template_id if reference.identifier == "base" else None


class FakeUsage:
    """Counts."""

    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.started: list[str] = []

    def template_spawned(self, template_id: str) -> None:
        self.spawned.append(template_id)

    def sandbox_started(self, team_id: str) -> None:
        self.started.append(team_id)


class FakeVolumes:
    """Records, nodes and tokens of volumes in one."""

    def __init__(self, nodes: FakeNodes) -> None:
        self.volumes: dict[str, Volume] = {}
        self.directories: set[str] = set()
        self.candidates = nodes.candidates

    async def add(self, volume: Volume, most: int) -> bool:
        if any((other.team_id, other.name) == (volume.team_id, volume.name) for other in self.volumes.values()):
            return False
        if len(await self.list(volume.team_id)) >= most:
            raise too_many(most)
        self.volumes[volume.volume_id] = volume
        return True

    async def list(self, team_id: str) -> Sequence[Volume]:
        return [volume for volume in self.volumes.values() if volume.team_id == team_id]

    async def find(self, team_id: str, volume_id: str) -> Volume | None:
        return next((volume for volume in await self.list(team_id) if volume.volume_id == volume_id), None)

    async def by_name(self, team_id: str, names: Sequence[str]) -> Mapping[str, Volume]:
        return {volume.name: volume for volume in await self.list(team_id) if volume.name in names}

    async def remove(self, team_id: str, volume_id: str) -> Volume | None:
        found = await self.find(team_id, volume_id)
        if found is not None:
            del self.volumes[volume_id]
        return found

    async def create_volume(self, volume: Volume) -> None:
        await asyncio.sleep(0)
        self.directories.add(volume.volume_id)

    async def delete_volume(self, volume: Volume) -> None:
        self.directories.discard(volume.volume_id)

    def issue(self, volume: Volume) -> str:
        return f"token of {volume.volume_id}"


class Core:
    """The core over stand-ins and the real in-memory store, or another; `beside` is another replica over the same world."""

    def __init__(self, *node_ids: str, store: SandboxStore | None = None, beside: Core | None = None) -> None:
        self.clock: FakeClock = FakeClock() if beside is None else beside.clock
        self.store: SandboxStore = MemorySandboxStore() if store is None else store
        self.nodes: FakeNodes = FakeNodes(self.clock, *node_ids) if beside is None else beside.nodes
        self.routes: FakeRoutes = FakeRoutes() if beside is None else beside.routes
        self.templates = FakeTemplates()
        self.usage = FakeUsage()
        self.errors: list[BaseException] = []
        self.tasks = TaskGroup("core", lambda name, error: self.errors.append(error))
        self.addresses: dict[str, list[str]] = {}
        self.network = NetworkChecker(NetworkFeatures(), self._resolve)
        self.places = FakeVolumes(self.nodes)
        self.volumes = Volumes(self.places, self.places, self.places, VolumeRules(enabled=True, shared=False, most_per_team=3))
        self.tokens = SandboxTokens("seed")
        self.snapshots: FakeSnapshots = FakeSnapshots(self.clock) if beside is None else beside.snapshots
        self.paused = PausedSandboxes(self.store, self.snapshots, self.nodes)
        self.checkpointer = Checkpointer(self.store, self.store, self.paused, self.nodes, self.routes)
        self.launcher = SandboxLauncher(self.store, self.store, self.nodes, self.routes)
        self.creator = SandboxCreator(
            templates=self.templates,
            launcher=self.launcher,
            usage=self.usage,
            network=self.network,
            volumes=self.volumes,
            starts=self.usage,
            tokens=self.tokens,
            tasks=self.tasks,
        )
        self.extender = SandboxExtender(self.store, self.nodes, self.clock)
        self.killer = SandboxKiller(self.store, self.snapshots, self.nodes, self.nodes, self.routes, self.clock, self.tasks)
        self.pauser = SandboxPauser(self.store, self.store, self.snapshots, self.paused, self.nodes, self.routes, self.tasks)
        self.expirer = SandboxExpirer(self.store, self.nodes, self.killer, self.pauser, self.clock)
        self.resumer = SandboxResumer(
            sandboxes=self.store,
            paused=self.paused,
            launcher=self.launcher,
            extender=self.extender,
            volumes=self.volumes,
            tokens=self.tokens,
            tasks=self.tasks,
        )
        self.forker = SandboxForker(
            checkpointer=self.checkpointer,
            launcher=self.launcher,
            nodes=self.nodes,
            volumes=self.volumes,
            tokens=self.tokens,
            starts=self.usage,
            tasks=self.tasks,
        )
        self.lister = SandboxLister(self.store, self.snapshots, self.templates)
        self.updater = NetworkUpdater(self.store, self.nodes, self.network)

    async def _resolve(self, name: str) -> list[str]:
        return self.addresses.get(name, [])
