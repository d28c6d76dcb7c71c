"""The driver itself: from a spec to a sandbox that answers, and back to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.aiokit.teardown import TeardownError, TeardownStack
from sandbank.artifacts.exchange import Description, Exchange, Manifest
from sandbank.artifacts.shared_parts import BUNDLES, HEAPS
from sandbank.domain.errors import ConflictError, InternalError, NotFoundError, SandbankError, UnavailableError
from sandbank.runtime.bundle import assemble
from sandbank.runtime.cgroup.group import Group, Groups
from sandbank.runtime.cgroup.hierarchy import find_hierarchy
from sandbank.runtime.driver import EgressPolicy, NodeLayout, SandboxExit, SandboxSpec, SandboxStats, SecretSource, StartReport
from sandbank.runtime.drivers.namespaces import adoption, beginning, process, watches
from sandbank.runtime.drivers.namespaces.agent_client import initialise
from sandbank.runtime.drivers.namespaces.frozen import FrozenCache
from sandbank.runtime.drivers.namespaces.heaps import Heaps
from sandbank.runtime.drivers.namespaces.home import Homes, Record
from sandbank.runtime.drivers.namespaces.probe import probe_agent
from sandbank.runtime.drivers.namespaces.processors import Processors
from sandbank.runtime.drivers.namespaces.running import HomeName, Running
from sandbank.runtime.drivers.namespaces.saves import Afterwards, Place, Saves
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.drivers.namespaces.spawn_request import SpawnRequest
from sandbank.runtime.drivers.namespaces.trash import Trash
from sandbank.runtime.drivers.namespaces.zygote_client import ZygoteClient
from sandbank.runtime.linux import seccomp
from sandbank.runtime.network.dial import dial
from sandbank.runtime.network.egress.record import decode, encode
from sandbank.runtime.network.interception.authority import Authority
from sandbank.runtime.network.interception.transformer import HeaderTransformer
from sandbank.runtime.network.interception.trust import UpstreamTrust
from sandbank.runtime.network.listen import listen
from sandbank.runtime.network.pool import Adopted, SlotPool
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot
from sandbank.runtime.quota.volume import Volume, VolumeError
from sandbank.runtime.snapshot.store import SnapshotFacts
from sandbank.telemetry.pipeline import ORCHESTRATOR
from sandbank.telemetry.tracing import Tracer, outgoing

# Between looks at processes that take longer to end than anybody waits.
_LATE_SECONDS = 1.0
# Between looks at whether somebody else wants the memory of frozen ones.
_ROOM_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class _Start:
    """A create under way, for a kill that comes amid it."""

    def __init__(self) -> None:
        self.is_doomed = False
        self.is_over = asyncio.Event()


class NamespaceDriver:
    """Runs sandboxes as namespaces forked from a zygote. See `sandbank.runtime.driver.Driver` for what each method promises."""

    name = "namespaces"

    def __init__(self, layout: NodeLayout, settings: NamespaceSettings | None = None, secrets: SecretSource | None = None) -> None:
        self._layout = layout
        self._settings = settings or NamespaceSettings()
        self._network = NetworkSettings(free_target=self._settings.free_slots)
        self._authority = Authority(layout.data_dir / "egress-authority.pem")
        self._transformer = None if secrets is None else self._make_transformer(secrets)
        self._homes = Homes(layout.data_dir / "sandboxes")
        self._saves = Saves(self._homes, layout.data_dir, self._settings)
        self._heaps = Heaps(layout.data_dir / HEAPS)
        self._volume = Volume(layout.data_dir / "sandboxes", layout.sandbox_disk_mib)
        self._groups = Groups(find_hierarchy(), f"sandbank-{layout.instance}")
        self._processors = Processors()
        self._frozen = FrozenCache(self._settings.frozen_share, layout.max_slots, self._dismantle)
        self._running: dict[str, Running] = {}
        self._ending: dict[str, Running] = {}
        self._starting: dict[str, _Start] = {}
        self._on_exit: Callable[[SandboxExit], None] = lambda _exit: None
        self._tasks = TaskGroup("driver", lambda name, error: _log.error("background task failed", task=name, error=repr(error)))
        self._spawns = asyncio.Semaphore(self._settings.concurrent_spawns)
        self._opened = TeardownStack("driver")
        self._trash = Trash(self._homes, self._tasks)
        self._bundle = ""
        self._tracer = Tracer(ORCHESTRATOR)
        self._zygote: ZygoteClient
        self._pool: SlotPool

    async def start(self, on_exit: Callable[[SandboxExit], None]) -> StartReport:
        """Adopt, reclaim, fill the pool."""
        if not seccomp.is_supported():
            raise InternalError(f"there is no system call filter for {os.uname().machine}; sandboxes are not started without one")
        self._on_exit = on_exit
        self._homes.prepare()
        self._groups.prepare()
        bundles = self._layout.data_dir / BUNDLES
        bundles.mkdir(parents=True, exist_ok=True, mode=0o755)
        bundle = await asyncio.to_thread(assemble.find_or_assemble, bundles)
        self._bundle = bundle.name
        self._heaps.prepare()
        self._zygote = ZygoteClient(bundle, self._heaps)
        self._opened.push("zygote", self._zygote.close)
        await self._zygote.start()
        warnings = await asyncio.to_thread(self._open_volume)
        if self._settings.criu is not None:
            warnings += watches.raise_limits(self._layout.max_slots)
        await self._saves.prepare()
        found = await asyncio.to_thread(adoption.sort_out, self._homes, self._groups)
        await asyncio.to_thread(self._remove_unneeded, found.alive)
        if self._transformer is not None:
            await asyncio.to_thread(self._transformer.open)
        self._pool = SlotPool(self._layout, self._zygote.make_namespaces, self._network, self._transformer)
        self._opened.push("network", lambda: self._pool.close(remove=not self._running))
        report = await self._pool.start(
            {record.slot: Adopted(record.pid, record.sandbox_id, decode(record.egress)) for record in found.alive}
        )
        for record in found.alive:
            try:
                self._groups.group(record.group_name).thaw()  # should a pause have come no further
                self._adopt(record, self._pool.adopted(record.slot))
            except NotFoundError:  # its network is gone, so nothing will ever reach it
                adoption.end(record, self._groups, self._homes)
                found.reclaimed.append(record.sandbox_id)
        self._trash.empty()
        if self._frozen.is_on:
            self._tasks.start("make room", self._make_room())
        return StartReport(tuple(self._running), tuple(found.reclaimed), (*warnings, *report.warnings))

    def _remove_unneeded(self, alive: list[Record]) -> None:
        try:
            self._heaps.remove_unused([record.pid for record in alive], self._saves.heaps())
            if removed := self._saves.remove_unneeded(self._bundle, alive):
                _log.info("parts that nothing needs removed", parts=removed)
        except (InternalError, OSError) as error:  # a snapshot of a later release, for one
            _log.warning("what nothing needs was not removed", error=str(error))

    def _make_transformer(self, secrets: SecretSource) -> HeaderTransformer:
        trust = UpstreamTrust(self._settings.egress_ca_bundle)
        return HeaderTransformer(self._authority, secrets, trust, self._network)

    def _open_volume(self) -> tuple[str, ...]:
        """Put the homes where they have limits; without that this node still runs sandboxes, and the answer says why it has none."""
        problem = ""
        if not self._volume.is_ready and not self._volume.is_mounted:
            problem = adoption.clear_plain_homes(self._homes)
        try:
            if not problem:
                self._volume.open()
                self._homes.limit_from_now_on()
                return ()
        except VolumeError as error:
            problem = str(error)
        return (f"sandboxes can fill this node's disk, there are no quotas: {problem}",)

    async def create(self, spec: SandboxSpec) -> None:
        """Slot, home, cgroup, fork, probe; all of it or nothing."""
        await self._frozen.wait_gone(spec.sandbox_id)
        if spec.sandbox_id in self._running or spec.sandbox_id in self._starting or spec.sandbox_id in self._ending:
            raise ConflictError(f"sandbox '{spec.sandbox_id}' exists on this node")
        start = self._starting[spec.sandbox_id] = _Start()
        teardown = TeardownStack(f"sandbox {spec.sandbox_id}")
        try:
            running = await self._thaw(spec)
            if running is None:
                await self._frozen.remove_sandbox(spec.sandbox_id)
                await self._frozen.make_room()
                async with self._spawns:
                    running = await self._build(spec, teardown)
            teardown = running.teardown
            if start.is_doomed:
                raise UnavailableError(f"sandbox '{spec.sandbox_id}' was killed while it was created")
        except BaseException as error:
            await self._abandon(spec.sandbox_id, teardown)
            if isinstance(error, OSError):
                raise InternalError(f"the sandbox could not be started: {error}") from error
            raise
        finally:
            del self._starting[spec.sandbox_id]
            start.is_over.set()
        self._running[spec.sandbox_id] = running
        self._watch(running)

    async def _thaw(self, spec: SandboxSpec) -> Running | None:
        """The sandbox, if it is still in memory and goes on well; what is on disk is as good otherwise."""
        if spec.boots or spec.snapshot_id is None:
            return None
        running = self._frozen.take(spec.snapshot_id, spec.sandbox_id)
        running = running or self._frozen.take_spare(spec.snapshot_id, spec.limits.vcpu)
        if running is None:
            return None
        asyncio.get_running_loop().remove_reader(running.pidfd)
        try:
            spec, facts = await self._saves.find(spec)
            if running.spare_of is not None:
                facts = self._name(running, spec.sandbox_id, facts)
            await self._pool.set_egress(running.slot, spec.sandbox_id, spec.egress)
            running.group.thaw()
            with self._tracer.span("envd-init", sandbox_id=spec.sandbox_id):
                await self._saves.introduce(spec, facts, running.slot, self._ca_bundle(spec))
            egress, token = encode(spec.egress), spec.init.access_token
            record = replace(
                running.record, execution_id=spec.execution_id, egress=egress, agent_token=token, env_vars=spec.init.env_vars, frozen=""
            )
            self._homes.write_record(record)
        except BaseException as error:
            await finish(self._dismantle(running))
            if not isinstance(error, (SandbankError, OSError)):
                raise
            _log.warning("a sandbox in memory did not go on", sandbox_id=spec.sandbox_id, error=str(error))
            return None
        running.record, running.is_saved, running.spare_of = record, False, None
        return running

    def _name(self, running: Running, sandbox_id: str, facts: SnapshotFacts) -> SnapshotFacts:
        """Make one that was made ahead somebody's; the facts with what its agent knows by now."""
        record = running.record
        self._homes.rename(record.sandbox_id, sandbox_id)
        running.home.value = sandbox_id
        running.record = replace(record, sandbox_id=sandbox_id, group=record.group_name)
        return replace(facts, agent_token=record.agent_token)

    async def make_spare(self, spec: SandboxSpec) -> bool:
        """Restored, introduced as nobody, and frozen, among those that are paused."""
        if not self._frozen.is_on or spec.snapshot_id is None:
            return False
        teardown = TeardownStack(f"sandbox {spec.sandbox_id}")
        try:
            async with self._spawns:
                running = await self._build(spec, teardown)
            teardown = running.teardown
            running.spare_of, running.is_saved = spec.snapshot_id, True
            running.record = replace(running.record, frozen=spec.snapshot_id)
            self._homes.write_record(running.record)
            running.group.freeze()
            if not (running.group.can_freeze and await asyncio.to_thread(running.group.is_frozen)):
                raise UnavailableError("it does not stand still")
        except BaseException as error:
            await self._abandon(spec.sandbox_id, teardown)
            if isinstance(error, OSError):
                raise InternalError(f"the sandbox could not be started: {error}") from error
            raise
        await self._frozen.add(spec.sandbox_id, running)
        return True

    async def remove_spares(self, snapshot_id: str) -> None:
        """Idempotent."""
        await self._frozen.remove_spares(snapshot_id)

    def count_spares(self, snapshot_id: str) -> int:
        """Those that have not given way."""
        return self._frozen.count_spares(snapshot_id)

    async def _build(self, spec: SandboxSpec, teardown: TeardownStack) -> Running:
        facts: SnapshotFacts | None = None
        if spec.snapshot_id is not None:
            spec, facts = await self._saves.find(spec)
        boot_id = str(uuid.uuid4())
        slot = await self._pool.acquire()
        group = self._groups.group(spec.sandbox_id)
        teardown.push("release slot", functools.partial(self._release, slot, group))
        await self._pool.set_egress(slot, spec.sandbox_id, spec.egress)
        if facts is None:
            home = self._homes.create(spec.sandbox_id, spec.limits.disk_mib << 20)
        else:
            home = await self._saves.make_home(spec.sandbox_id, facts)
        home_name = HomeName(spec.sandbox_id)
        teardown.push("remove files", lambda: self._trash.discard(home_name.value))
        teardown.push("remove cgroup", lambda: asyncio.to_thread(group.remove))
        group.create(spec.limits)
        pidfds: list[int] = []

        def on_pid(pid: int) -> None:
            if not pidfds:
                pidfds.append(os.pidfd_open(pid))
                teardown.push("end processes", functools.partial(self._end, pidfds[0], group), self._settings.kill_seconds)

        processors = self._processors.choose(spec.limits.vcpu)
        teardown.push("release processors", functools.partial(self._processors.release, processors))
        try:
            if facts is None or spec.boots:
                request = beginning.request_of(spec, home, group, processors, self._ca_bundle(spec), boot_id)
                await self._spawn(spec, slot, request, on_pid)
            else:
                await self._restore(spec, facts, Place(slot, home, group, processors), on_pid)
        except BaseException:
            # What was forked before its number was known is in the group, and nowhere else.
            await asyncio.to_thread(group.kill)
            raise
        pid = _pid_of(pidfds[0])
        if process.outer_uid(pid) != slot.base_uid:
            raise UnavailableError("the sandbox ended while it was started")
        record = beginning.record_of(spec, slot, pid, self._bundle, boot_id)
        if facts is not None:
            record = self._saves.continued(record, facts, boots=spec.boots)
        self._homes.write_record(record)
        return Running(record, slot, pidfds[0], group, teardown, home_name)

    async def _spawn(self, spec: SandboxSpec, slot: Slot, request: SpawnRequest, on_pid: Callable[[int], None]) -> None:
        with self._tracer.span("sandbox-spawn", sandbox_id=spec.sandbox_id):
            await self._zygote.spawn(request, slot.userns_fd, slot.netns_fd, on_pid, self._settings.spawn_seconds)
        with self._tracer.span("envd-init", sandbox_id=spec.sandbox_id):
            await probe_agent(functools.partial(dial, slot.netns_fd, "127.0.0.1"), self._settings.spawn_seconds, outgoing())

    async def _restore(self, spec: SandboxSpec, facts: SnapshotFacts, place: Place, on_pid: Callable[[int], None]) -> None:
        with self._tracer.span("sandbox-restore", sandbox_id=spec.sandbox_id):
            await self._saves.restore(self._zygote, self._pool, place, facts, on_pid)
        with self._tracer.span("envd-init", sandbox_id=spec.sandbox_id):
            await self._saves.introduce(spec, facts, place.slot, self._ca_bundle(spec))

    def _ca_bundle(self, spec: SandboxSpec) -> str | None:
        return self._authority.pem if spec.egress.transforms else None

    async def checkpoint(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        """As `pause`, but it runs on, and what it writes from then on is not in the snapshot."""
        running = self._find(sandbox_id)
        if memory:
            self._saves.check()
        await finish(self._checkpoint(running, snapshot_id, memory))

    async def _checkpoint(self, running: Running, snapshot_id: str, memory: bool) -> None:
        async with running.changing:
            self._find(running.record.sandbox_id)
            if not memory:
                await self._saves.save_files(running, snapshot_id, leave_running=True)
                return
            await self._saves.save(running, snapshot_id, Afterwards.RUN)

    async def save_layer(self, sandbox_id: str, layer_id: str) -> tuple[Path, ...]:
        """A subvolume sharing blocks with the sandbox's files, or else a copy."""
        running = self._find(sandbox_id)
        async with running.changing:
            self._find(sandbox_id)
            saved = await finish(self._saves.save_layer(running, layer_id))
            return (*map(Path, running.record.layers), saved)

    async def pause(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        """Frozen, saved, on disk, and only then ended: whoever kills this process amid it finds the sandbox running or its snapshot."""
        running = self._find(sandbox_id)
        if memory:
            self._saves.check()
        await finish(self._pause(running, snapshot_id, memory))

    async def _pause(self, running: Running, snapshot_id: str, memory: bool) -> None:
        sandbox_id = running.record.sandbox_id
        async with running.changing:
            self._find(sandbox_id)
            stays = memory and self._frozen.is_on and running.group.can_freeze
            if memory:
                stays = await self._saves.save(running, snapshot_id, Afterwards.FREEZE if stays else Afterwards.END) and stays
            else:
                await self._saves.save_files(running, snapshot_id, leave_running=False)
            # From here on it is the snapshot that is the sandbox.
            if self._running.get(sandbox_id) is running:
                del self._running[sandbox_id]
        if not (stays and await self._keep(running, snapshot_id)):
            await self._dismantle(running)

    async def _keep(self, running: Running, snapshot_id: str) -> bool:
        """Keep a sandbox that is saved and frozen in memory; False when it is not all there."""
        try:
            if not await asyncio.to_thread(running.group.is_frozen):
                return False
            await self._pool.end_severed(running.slot)  # now and not when it goes on: somebody waits at the other end
            await self._frozen.add(snapshot_id, running)
        except (OSError, SandbankError) as error:
            _log.warning("a paused sandbox does not stay in memory", sandbox_id=running.record.sandbox_id, error=str(error))
            return False
        return True

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Complete ones only."""
        return self._saves.has(snapshot_id)

    def snapshot_names(self) -> list[str]:
        """Complete ones only."""
        return self._saves.names()

    async def describe_snapshot(self, snapshot_id: str) -> Description:
        """Reads its facts."""
        return await asyncio.to_thread(self._saves.transfer.describe, snapshot_id)

    async def place_snapshot(self, exchange: Exchange, manifest: Manifest) -> None:
        """Finishes although the caller is cancelled."""
        await finish(asyncio.to_thread(self._saves.transfer.place, exchange, manifest))

    def has_memory(self, snapshot_id: str) -> bool:
        """Of complete ones."""
        return self._saves.has_memory(snapshot_id)

    async def remove_snapshot(self, snapshot_id: str) -> None:
        """Its name at once, its files in the meantime."""
        await self._frozen.remove(snapshot_id)
        await self._frozen.remove_spares(snapshot_id)
        await self._saves.remove(snapshot_id)

    async def _make_room(self) -> None:
        while True:
            await asyncio.sleep(_ROOM_SECONDS)
            await self._frozen.make_room()

    async def kill(self, sandbox_id: str) -> None:
        """Unreachable at once; returns when it is gone but for its files. A create under way fails with `UnavailableError`."""
        if start := self._starting.get(sandbox_id):
            start.is_doomed = True
            await start.is_over.wait()
        running = self._running.pop(sandbox_id, None) or self._ending.get(sandbox_id)
        if running is not None:
            await finish(self._dismantle(running))

    def dial(self, sandbox_id: str, port: int) -> socket.socket:
        """Into the sandbox's loopback, version 4 or 6, or else to its own address; inside one machine a refusal is known at once."""
        slot = self._find(sandbox_id).slot
        for address in ("127.0.0.1", "::1"):
            connection = dial(slot.netns_fd, address, port)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNREFUSED:
                return connection
            connection.close()
        return dial(slot.netns_fd, slot.ip, port)

    def listen(self, sandbox_id: str, port: int) -> socket.socket:
        """Inside the sandbox's network, in this process."""
        return listen(self._find(sandbox_id).slot.netns_fd, port)

    async def set_egress(self, sandbox_id: str, policy: EgressPolicy) -> None:
        """On disk first: a driver that dies in between puts the new policy into force when it is back, and nobody was told of either."""
        running = self._find(sandbox_id)
        async with running.changing:
            self._find(sandbox_id)
            try:
                await finish(self._change_egress(running, policy))
            except OSError as error:
                self._find(sandbox_id)  # it may have ended meanwhile, its files with it
                raise InternalError(f"the network rules could not be changed: {error}") from error

    async def _change_egress(self, running: Running, policy: EgressPolicy) -> None:
        before = running.record
        if policy.transforms:
            await self._make_trusted(running)
        running.record = replace(before, egress=encode(policy))
        try:
            self._homes.write_record(running.record)
            await self._pool.set_egress(running.slot, before.sandbox_id, policy)
        except BaseException:
            running.record = before
            self._homes.write_record(before)
            raise

    async def _make_trusted(self, running: Running) -> None:
        call = functools.partial(dial, running.slot.netns_fd, "127.0.0.1")
        token = running.record.agent_token
        await initialise(call, token, {"accessToken": token, "caBundle": self._authority.pem}, self._settings.spawn_seconds)

    async def stats(self, sandbox_id: str) -> SandboxStats:
        """From its cgroup and its quota; without one, from its files."""
        running = self._find(sandbox_id)
        try:
            usage = running.group.usage()
        except OSError as error:
            raise NotFoundError(f"sandbox '{sandbox_id}' not found") from error
        disk_bytes = await asyncio.to_thread(self._homes.used_bytes, sandbox_id)
        record = running.record
        return SandboxStats(
            usage.cpu_seconds,
            usage.memory_bytes,
            usage.memory_cache_bytes,
            record.memory_limit_bytes,
            disk_bytes + record.inherited_bytes,
            record.disk_limit_bytes,
            usage.pids,
        )

    async def close(self) -> None:
        """Sandboxes stay; their links, rules and records with them. Cancelled, files of ended ones may stay until the next start."""
        await self._frozen.clear()
        await self._tasks.close()
        try:
            await self._opened.close()
        except TeardownError as error:
            _log.error("the node was not left as it should be", error=str(error))
        loop = asyncio.get_running_loop()
        for running in self._running.values():
            loop.remove_reader(running.pidfd)
            os.close(running.pidfd)
        is_empty = not self._running
        self._running.clear()
        if is_empty:
            with contextlib.suppress(OSError):  # groups of sandboxes that could not be removed; the next start sees to them
                self._groups.remove_parent()
        # Last: how long it takes, tenants have chosen.
        await asyncio.to_thread(self._homes.empty_trash)
        if is_empty:
            await asyncio.to_thread(self._volume.close)

    def _find(self, sandbox_id: str) -> Running:
        try:
            return self._running[sandbox_id]
        except KeyError:
            raise NotFoundError(f"sandbox '{sandbox_id}' not found") from None

    def _adopt(self, record: Record, slot: Slot) -> None:
        pidfd = os.pidfd_open(record.pid)
        with contextlib.suppress(OSError):  # it has ended since, and leaves a slot that nobody may have
            slot.is_spent = bool(record.addresses) or process.namespace_owner(record.pid) != record.base_uid
        group = self._groups.group(record.group_name)
        teardown = TeardownStack(f"sandbox {record.sandbox_id}")
        teardown.push("release slot", functools.partial(self._release, slot, group))
        processors = self._processors.adopt(record.pid)
        teardown.push("release processors", functools.partial(self._processors.release, processors))
        home_name = HomeName(record.sandbox_id)
        teardown.push("remove files", lambda: self._trash.discard(home_name.value))
        teardown.push("remove cgroup", lambda: asyncio.to_thread(group.remove))
        teardown.push("end processes", functools.partial(self._end, pidfd, group), self._settings.kill_seconds)
        running = Running(record, slot, pidfd, group, teardown, home_name)
        self._running[record.sandbox_id] = running
        self._watch(running)

    def _watch(self, running: Running) -> None:
        asyncio.get_running_loop().add_reader(running.pidfd, self._ended, running)

    def _ended(self, running: Running) -> None:
        asyncio.get_running_loop().remove_reader(running.pidfd)
        record = running.record
        if self._running.get(record.sandbox_id) is not running or running.is_saved:
            return
        del self._running[record.sandbox_id]
        self._tasks.start(f"clean up {record.sandbox_id}", finish(self._dismantle(running)))
        self._on_exit(SandboxExit(record.sandbox_id, record.execution_id, "its first process ended", datetime.now(UTC)))

    async def _dismantle(self, running: Running) -> None:
        sandbox_id = running.record.sandbox_id
        asyncio.get_running_loop().remove_reader(running.pidfd)
        self._ending[sandbox_id] = running
        try:
            await self._abandon(sandbox_id, running.teardown)
        finally:
            self._ending.pop(sandbox_id, None)

    async def _abandon(self, sandbox_id: str, teardown: TeardownStack) -> None:
        try:
            await teardown.close()
        except TeardownError as error:
            # Each leftover is found again at the next start.
            _log.error("a sandbox left something behind", sandbox_id=sandbox_id, error=str(error))

    async def _end(self, pidfd: int, group: Group) -> None:
        try:
            process.kill(pidfd)
            await asyncio.to_thread(group.kill)
            await _exited(pidfd)
            process.reap(pidfd)
        finally:
            os.close(pidfd)

    async def _release(self, slot: Slot, group: Group) -> None:
        """Whoever gets the slot next has its network and its users: not before the last process in it has ended."""
        if await asyncio.to_thread(group.pids):
            self._tasks.start("release late", self._release_late(slot, group))
            raise UnavailableError("processes have not ended yet; their slot stays out of use until they have")
        await self._pool.release(slot)

    async def _release_late(self, slot: Slot, group: Group) -> None:
        while await asyncio.to_thread(group.pids):  # noqa: ASYNC110  # what is awaited happens in the kernel
            await asyncio.sleep(_LATE_SECONDS)
        await asyncio.to_thread(group.remove)
        await self._pool.release(slot)


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise UnavailableError("the sandbox ended while it was started")


async def _exited(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(pidfd, end)
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)
