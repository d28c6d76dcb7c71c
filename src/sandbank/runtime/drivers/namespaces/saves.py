"""Snapshots of this node's sandboxes: taken of one that runs, and gone on from in a new home and slot."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sandbank.artifacts.shared_parts import HEAPS, SharedParts
from sandbank.domain.errors import ConflictError, InternalError, SandbankError, UnavailableError
from sandbank.runtime.cgroup.group import Group
from sandbank.runtime.driver import AgentInit, SandboxSpec
from sandbank.runtime.drivers.namespaces import checkpoint, process
from sandbank.runtime.drivers.namespaces.agent_client import initialise
from sandbank.runtime.drivers.namespaces.home import Homes, Record
from sandbank.runtime.drivers.namespaces.restoration import Restoration
from sandbank.runtime.drivers.namespaces.restore_request import RestoreRequest
from sandbank.runtime.drivers.namespaces.running import Running
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.drivers.namespaces.zygote_client import ZygoteClient
from sandbank.runtime.linux.trees import remove_tree
from sandbank.runtime.network.dial import dial
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.slot import Slot
from sandbank.runtime.snapshot import cpu_features
from sandbank.runtime.snapshot.owner import command as criu_command
from sandbank.runtime.snapshot.owner import write_library
from sandbank.runtime.snapshot.saved_layers import SavedLayers
from sandbank.runtime.snapshot.store import DIRECTORY, SnapshotFacts, SnapshotStore
from sandbank.runtime.snapshot.transfer import Transfer
from sandbank.runtime.snapshot.unneeded_parts import remove_unneeded

# Between looks at a CRIU that an earlier driver has left.
_WRITER_SECONDS = 0.05
# Of earlier slots; a socket that is bound to an older one is restored all the same, but reached by nobody.
_MOST_ADDRESSES = 32
# What may be written after a resume by whoever had used up everything before.
_LEAST_DISK_BYTES = 64 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Afterwards(enum.Enum):
    """What becomes of a sandbox that has been saved."""

    RUN = enum.auto()
    END = enum.auto()
    FREEZE = enum.auto()  # it stays in memory and never runs again unless it is thawed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sandbox is to go on."""

    slot: Slot
    home: Path
    group: Group
    processors: tuple[int, ...]


class Saves:
    """All snapshots of one node. `prepare` comes first, when the file system of homes and snapshots is there."""

    def __init__(self, homes: Homes, data_dir: Path, settings: NamespaceSettings) -> None:
        self._homes = homes
        self._data_dir = data_dir
        self._settings = settings
        self._store = SnapshotStore(data_dir / "sandboxes" / DIRECTORY)
        self._layers = SavedLayers(data_dir)
        self.transfer = Transfer(self._store, data_dir)
        self._root_library = Path()

    async def prepare(self) -> None:
        """Remove what an earlier process has not finished, once nobody works on it any more.

        A driver that was killed amid a pause has left CRIU alone, which must not be stopped while it is inside a process.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.checkpoint_seconds):
                while await asyncio.to_thread(self._store.writers):  # noqa: ASYNC110  # what is awaited happens in another process
                    await asyncio.sleep(_WRITER_SECONDS)
        await asyncio.to_thread(self._store.sweep)
        await asyncio.to_thread(self._layers.sweep)
        await asyncio.to_thread(SharedParts(self._data_dir).sweep)
        self._root_library = await asyncio.to_thread(write_library, self._data_dir)

    def names(self) -> list[str]:
        """Of all snapshots that are complete."""
        return self._store.names()

    def heaps(self) -> set[str]:
        """The zygotes' memory, by name, that snapshots have pages of. Blocks; `InternalError` when one of them cannot be read."""
        found = [facts for name in self.names() if (facts := self._store.find(name)) is not None]
        paths = (path.split("/") for facts in found for path in facts.files.values())
        return {path[1] for path in paths if path[0] == HEAPS}

    def remove_unneeded(self, bundle: str, alive: Iterable[Record]) -> list[str]:
        """Remove parts that nothing needs but what is saved, this bundle and these sandboxes: `unneeded_parts.remove_unneeded`. Blocks."""
        records = list(alive)
        bundles = {bundle, *(record.bundle for record in records)}
        layers = {layer for record in records for layer in record.layers}
        return remove_unneeded(self._data_dir, self._store, bundles, layers)

    def has(self, snapshot_id: str) -> bool:
        """Complete ones only."""
        return self._store.find(snapshot_id) is not None

    def has_memory(self, snapshot_id: str) -> bool:
        """Complete ones only."""
        return (facts := self._store.find(snapshot_id)) is not None and facts.has_memory

    async def remove(self, snapshot_id: str) -> None:
        """Idempotent."""
        await asyncio.to_thread(self._store.remove, snapshot_id)

    def check(self) -> None:
        """`UnavailableError` when this node can neither save nor bring back memory."""
        self._criu(owner=0)

    async def save(self, running: Running, snapshot_id: str, afterwards: Afterwards) -> bool:
        """Write a complete snapshot; what is to end has ended or ends by what the caller does next.

        False when CRIU failed after that: the snapshot is good, the processes are not. Errors as `Driver.pause`: it runs on as if nothing
        had been.
        """
        record = running.record
        data = self._homes.data(record.sandbox_id)
        try:
            images = await asyncio.to_thread(self._store.begin, snapshot_id)
            used = self._homes.used_bytes(record.sandbox_id) + record.inherited_bytes
            facts = await checkpoint.gather(record, snapshot_id, running.slot.ip, self._data_dir, used)

            async def on_frozen() -> None:
                await asyncio.to_thread(self._store.take_files, snapshot_id, data)
                await asyncio.to_thread(self._store.publish, facts)
                if afterwards is Afterwards.FREEZE:
                    # From the moment that this is on record the snapshot is the sandbox, whoever is killed next.
                    running.record = replace(record, frozen=snapshot_id)
                    self._homes.write_record(running.record)
                    running.group.freeze()
                running.is_saved = afterwards is not Afterwards.RUN

            command = self._criu(process.namespace_owner(record.pid))
            deadline = self._settings.checkpoint_seconds
            goes_on = afterwards is not Afterwards.END
            await checkpoint.dump(command, facts, record.pid, images, on_frozen, leave_running=goes_on, deadline_seconds=deadline)
        except BaseException as error:
            if running.is_saved:  # CRIU failed to end, or to let go of, what is saved; it is ended in any case
                return False
            await asyncio.to_thread(self._store.abandon, snapshot_id)
            await asyncio.to_thread(self._undo, running, record, snapshot_id)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise
        return True

    def _undo(self, running: Running, record: Record, snapshot_id: str) -> None:
        """Whatever was done before it failed, the sandbox is the one that runs."""
        self._store.remove(snapshot_id)
        if running.record is not record:
            running.record = record
            with contextlib.suppress(UnavailableError):  # no room for it: then the old one was not replaced either
                self._homes.write_record(record)
            with contextlib.suppress(OSError):  # it has ended
                running.group.thaw()

    async def save_files(self, running: Running, snapshot_id: str, *, leave_running: bool) -> None:
        """As `save`, without memory: what processes have not written is lost. What is not to run on stands still until the caller ends it.

        `UnavailableError` when it does not stand still or the disk is full, `ConflictError` as `checkpoint.facts_of_files`.
        """
        record, group = running.record, running.group
        try:
            await asyncio.to_thread(self._store.begin, snapshot_id)
            if group.can_freeze:  # a file system that shares blocks takes all files at one moment anyway
                group.freeze()
                if not await asyncio.to_thread(group.is_frozen):
                    raise UnavailableError("the sandbox could not be saved: it does not stand still")
            used = self._homes.used_bytes(record.sandbox_id) + record.inherited_bytes
            facts = checkpoint.facts_of_files(record, snapshot_id, running.slot.ip, used)
            await asyncio.to_thread(self._store.take_files, snapshot_id, self._homes.data(record.sandbox_id))
            await asyncio.to_thread(self._store.publish, facts)
            running.is_saved = not leave_running
        except BaseException as error:
            await asyncio.to_thread(self._store.abandon, snapshot_id)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise
        finally:
            if not running.is_saved:
                with contextlib.suppress(OSError):  # it has ended
                    group.thaw()

    async def save_layer(self, running: Running, layer_id: str) -> Path:
        """Keep what it has written so far as a layer; it stands still meanwhile. `UnavailableError` as `save_files`."""
        group = running.group
        try:
            if group.can_freeze:
                group.freeze()
                if not await asyncio.to_thread(group.is_frozen):
                    raise UnavailableError("the sandbox could not be saved: it does not stand still")
            return await asyncio.to_thread(self._layers.save, layer_id, self._homes.data(running.record.sandbox_id))
        except OSError as error:
            raise _failed(error) from error
        finally:
            with contextlib.suppress(OSError):  # it has ended
                group.thaw()

    async def find(self, spec: SandboxSpec) -> tuple[SandboxSpec, SnapshotFacts]:
        """The snapshot that `spec` names, and `spec` with what is the snapshot's; `ConflictError` when there is none.

        The answer `boots` if there is no memory to go on with, or it shall not be used.
        """
        facts = await asyncio.to_thread(self._store.find, spec.snapshot_id or "")
        if facts is None:
            raise ConflictError(f"sandbox files for '{spec.sandbox_id}' not found")
        boots = spec.boots or not facts.has_memory
        if not boots:
            self.check()
            if lacking := cpu_features.missing(facts.cpu):
                raise UnavailableError(f"this node's processor lacks what the sandbox may use: {', '.join(lacking)}")
        if len(spec.volumes) == len(facts.volumes):
            facts = replace(facts, volumes=tuple(str(volume.directory) for volume in spec.volumes))
        elif "" in facts.volumes:
            raise ConflictError("the snapshot's volumes are not known on this node")
        limits = replace(spec.limits, memory_mib=facts.memory_limit_bytes >> 20, disk_mib=facts.disk_limit_bytes >> 20)
        env_vars = {**facts.env_vars, **spec.init.env_vars}
        init = AgentInit(spec.init.access_token, env_vars, facts.default_user, facts.default_workdir)
        return replace(spec, limits=limits, layers=tuple(map(Path, facts.layers)), init=init, boots=boots), facts

    async def make_home(self, sandbox_id: str, facts: SnapshotFacts) -> Path:
        """A home with the snapshot's files, and room for what is left of the limit. Errors as `Homes.create`."""
        left = max(facts.disk_limit_bytes - facts.used_bytes, _LEAST_DISK_BYTES)
        return await asyncio.to_thread(self._homes.create, sandbox_id, left, self._store.data(facts.snapshot_id))

    async def restore(
        self, zygote: ZygoteClient, pool: SlotPool, place: Place, facts: SnapshotFacts, on_pid: Callable[[int], None]
    ) -> None:
        """Return when the processes run, in `place`; see `Restoration.run`."""
        images = place.home / "images"
        restoration = Restoration(zygote, pool, place.slot, facts, self._request(place, facts), images)
        await asyncio.to_thread(restoration.link_images, self._store.memory(facts.snapshot_id))
        await restoration.run(on_pid, self._settings.checkpoint_seconds)
        await pool.end_severed(place.slot)
        # Links, too, keep what they point to on disk.
        await asyncio.to_thread(remove_tree, images)

    async def introduce(self, spec: SandboxSpec, facts: SnapshotFacts, slot: Slot, ca_bundle: str | None) -> None:
        """Tell the agent what time it is and, if it is another's from now on, whose. `UnavailableError` unless it agrees."""
        fields: dict[str, object] = {
            "timestamp": datetime.now(UTC).isoformat(),
            "accessToken": spec.init.access_token,
            "addEnvVars": spec.init.env_vars,
            "caBundle": ca_bundle,
        }
        if spec.sandbox_id != facts.sandbox_id:
            fields |= {"sandboxID": spec.sandbox_id, "templateID": spec.template_id}
        await initialise(functools.partial(dial, slot.netns_fd, "127.0.0.1"), facts.agent_token, fields, self._settings.spawn_seconds)

    def continued(self, record: Record, facts: SnapshotFacts, *, boots: bool) -> Record:
        """A fresh record, with what the sandbox brings along from before."""
        record = replace(record, inherited_bytes=max(0, facts.used_bytes - self._homes.used_bytes(record.sandbox_id)))
        if boots:
            return record
        addresses = tuple(dict.fromkeys((*facts.addresses, facts.address)))[-_MOST_ADDRESSES:]
        return replace(record, bundle=facts.bundle, addresses=addresses, boot_id=facts.boot_id)

    def _request(self, place: Place, facts: SnapshotFacts) -> RestoreRequest:
        return RestoreRequest(
            criu=self._criu(owner=0),
            layers=list(facts.layers),
            upper=str(place.home / "data"),
            join_cgroups=place.group.join_paths,
            show_cgroups=place.group.shown,
            memory_bytes=facts.memory_limit_bytes,
            cpu_count=facts.cpu_count,
            processors=place.processors,
            base_uid=place.slot.base_uid,
            boot_id=facts.boot_id,
            files=[str(self._data_dir / path) for path in facts.files.values()],
            volumes=list(facts.volumes),
        )

    def _criu(self, owner: int) -> list[str]:
        if self._settings.criu is None:
            raise UnavailableError("this node cannot save or bring back memory: it has no CRIU, see `sandbank doctor`")
        return [str(self._settings.criu)] if owner == 0 else criu_command(self._settings.criu, self._root_library, owner)


def _failed(error: OSError) -> SandbankError:
    if error.errno in _FULL:
        return UnavailableError("the disk of this node's sandboxes is full")
    return InternalError(f"the sandbox could not be saved: {error}")
