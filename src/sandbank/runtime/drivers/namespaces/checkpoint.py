"""A running sandbox's memory, written to disk by CRIU while everything inside stands still."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from sandbank.artifacts.shared_parts import BUNDLES, HEAPS
from sandbank.contracts.criu_rpc import CRIU_CGROUPS_IGNORE, CRIU_DUMP, CRIU_LOCK_SKIP, CriuOptions
from sandbank.domain.errors import ConflictError, UnavailableError
from sandbank.runtime.drivers.namespaces.home import Record
from sandbank.runtime.linux.libc import CLONE_NEWNET
from sandbank.runtime.snapshot import cpu_features, criu, tree
from sandbank.runtime.snapshot.store import SnapshotFacts

LOG = "dump.log"
_LOG_LEVEL = 2
# Deleted files that are still open are kept with the memory, up to this size each.
_GHOST_BYTES = 256 << 20


def facts_of_files(record: Record, snapshot_id: str, address: str, used_bytes: int) -> SnapshotFacts:
    """What has to be known to start the sandbox again with its files; `ConflictError` when it is not on record."""
    if not record.layers:
        raise ConflictError("it was started by an earlier release, which did not record what a snapshot needs")
    return SnapshotFacts(
        snapshot_id=snapshot_id,
        sandbox_id=record.sandbox_id,
        base_uid=record.base_uid,
        address=address,
        bundle="",
        layers=record.layers,
        volumes=record.volumes,
        mounts=(),
        files={},
        memory_limit_bytes=record.memory_limit_bytes,
        disk_limit_bytes=record.disk_limit_bytes,
        used_bytes=used_bytes,
        cpu_count=record.cpu_count,
        agent_token=record.agent_token,
        addresses=record.addresses,
        env_vars=record.env_vars,
        default_user=record.default_user,
        default_workdir=record.default_workdir,
        boot_id=record.boot_id,
        has_memory=False,
    )


def facts_of(record: Record, snapshot_id: str, address: str, data_dir: Path, used_bytes: int) -> SnapshotFacts:
    """What has to be known to bring the sandbox back; `ConflictError` for what cannot be. Reads /proc, thus blocks."""
    facts = facts_of_files(record, snapshot_id, address, used_bytes)
    volumes = {}
    for index, directory in enumerate(record.volumes):
        status = os.stat(directory)
        volumes[status.st_dev, status.st_ino] = f"v{index}"
    mounts = tree.outside_mounts(record.pid, volumes)
    files = {}
    for key, file in tree.outside_files(record.pid).items():
        relative = _below(data_dir, file, (f"{BUNDLES}/{record.bundle}/", f"{HEAPS}/"))
        if relative is None:
            raise ConflictError(f"a process has a file of the node's mapped: {file.path}")
        files[key] = relative
    shown = tuple(f"mnt[{point}]:{source}" for point, source in mounts.items())
    return replace(facts, bundle=record.bundle, mounts=shown, files=files, has_memory=True, cpu=cpu_features.local())


def _below(data_dir: Path, file: tree.OutsideFile, places: tuple[str, ...]) -> str | None:
    """Its path below the data directory, if it is in one of these places.

    What was restored has mapped it by way of another mount: where the data directory is a file system of its own, the kernel's path
    begins there then. Only the same file is taken for one of ours.
    """
    relative = os.path.relpath(file.path, data_dir)
    if relative.startswith(places):
        return relative
    for place in places:
        _, found, rest = file.path.partition(f"/{place}")
        with contextlib.suppress(OSError):
            status = os.stat(data_dir / place / rest)
            if found and (status.st_dev, status.st_ino) == (file.device, file.inode):
                return place + rest
    return None


async def dump(
    command: list[str],
    facts: SnapshotFacts,
    pid: int,
    images: Path,
    on_frozen: Callable[[], Awaitable[None]],
    *,
    leave_running: bool,
    deadline_seconds: float,
) -> None:
    """Write the images of the tree below `pid`; `on_frozen` is awaited when they are complete and nothing runs yet.

    Then the tree runs on, or is gone. `ConflictError` with the reason when it cannot be dumped, `UnavailableError` when there is no room
    or no end, and whatever `on_frozen` raises: the tree runs on as if nothing had been.
    """
    descriptor = os.open(images, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        options = CriuOptions(
            images_dir_fd=descriptor,
            pid=pid,
            leave_running=leave_running,
            log_file=LOG,
            log_level=_LOG_LEVEL,
            notify_scripts=True,
            external=[*facts.mounts, *facts.files],
            empty_ns=CLONE_NEWNET,
            tcp_established=True,
            tcp_skip_in_flight=True,
            ext_unix_sk=True,
            file_locks=True,
            link_remap=True,
            ghost_limit=_GHOST_BYTES,
            manage_cgroups_mode=CRIU_CGROUPS_IGNORE,
            network_lock=CRIU_LOCK_SKIP,
        )

        async def on_notice(name: str, _pid: int) -> None:
            if name == "post-dump":
                await on_frozen()

        await criu.run(command, CRIU_DUMP, options, on_notice, images / LOG, deadline_seconds=deadline_seconds)
    except (criu.CriuSpaceError, criu.CriuDeadlineError) as error:
        raise UnavailableError(f"the sandbox could not be saved: {error}") from error
    except criu.CriuError as error:
        raise ConflictError(str(error)) from error
    finally:
        os.close(descriptor)


async def gather(record: Record, snapshot_id: str, address: str, data_dir: Path, used_bytes: int) -> SnapshotFacts:
    """`facts_of`, off the loop."""
    try:
        return await asyncio.to_thread(facts_of, record, snapshot_id, address, data_dir, used_bytes)
    except OSError as error:
        raise ConflictError(f"it cannot be described: {error}") from error
