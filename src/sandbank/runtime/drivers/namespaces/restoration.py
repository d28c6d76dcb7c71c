"""A snapshot's processes, brought back by CRIU into a slot."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from sandbank.contracts.criu_rpc import CRIU_CGROUPS_IGNORE, CRIU_LOCK_SKIP, CRIU_RESTORE, CriuInheritFd, CriuOptions
from sandbank.domain.errors import InternalError
from sandbank.runtime.drivers.namespaces.restore_request import FIRST_FILE, FURNISH, RESTORE, STAGE, RestoreRequest
from sandbank.runtime.drivers.namespaces.zygote_client import ZygoteClient
from sandbank.runtime.linux.libc import CLONE_NEWNET
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.slot import Slot
from sandbank.runtime.rootfs import stage
from sandbank.runtime.snapshot import criu, owner, record_locks, uid_range
from sandbank.runtime.snapshot.store import SnapshotFacts

LOG = "restore.log"
_LOG_LEVEL = 2
_WITH_UIDS = ("userns-", "mountpoints-")
_NAMESPACES = ("mnt", "net", "ipc", "user")


class Restoration:
    """One attempt to bring a sandbox back. `images` is a directory of its own for CRIU's images, which are linked there."""

    def __init__(
        self, zygote: ZygoteClient, pool: SlotPool, slot: Slot, facts: SnapshotFacts, request: RestoreRequest, images: Path
    ) -> None:
        self._zygote = zygote
        self._pool = pool
        self._slot = slot
        self._facts = facts
        self._request = request
        self._images = images

    def link_images(self, memory: Path) -> None:
        """Show the snapshot's images, but those that say which uids it had changed to the slot's.

        They are read as the sandbox's root, by the descriptor of this directory: a symbolic link would lead through those above it, which
        are closed.
        """
        self._images.mkdir(mode=0o755)
        for entry in os.scandir(memory):
            if not entry.name.endswith(".img"):
                continue
            image = self._images / entry.name
            if entry.name.startswith(_WITH_UIDS):
                changed = uid_range.moved(entry.name, Path(entry.path).read_bytes(), self._facts.base_uid, self._slot.base_uid)
                image.write_bytes(changed)
            else:
                image.hardlink_to(entry.path)

    async def run(self, on_pid: Callable[[int], None], deadline_seconds: float) -> None:
        """Return when the processes run. `on_pid` is told of CRIU's and, when it is known, of the first process's number.

        `InternalError` with CRIU's reason. Whoever called ends the processes when this raises.
        """
        locks, first = await asyncio.to_thread(record_locks.saved, self._images), 0
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptor = os.open(self._images, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with mine:
                mine.setblocking(False)
                with theirs:
                    report = await self._zygote.carry_out(RESTORE, self._request.encode(), [theirs.fileno()], deadline_seconds)
                program = int(report.get("pid", 0))

                async def on_notice(name: str, pid: int) -> None:
                    nonlocal first
                    if name == "pre-restore":
                        await asyncio.to_thread(owner.become, program, self._slot.base_uid)
                    if name == "setup-namespaces":
                        await asyncio.to_thread(owner.become_root_again, program, but=pid)
                        first = pid
                        on_pid(pid)
                        await self._move_in(pid, deadline_seconds)

                async with asyncio.timeout(deadline_seconds):
                    options = self._options(descriptor, stopped=bool(locks))
                    await criu.ask(mine, CRIU_RESTORE, options, on_notice, self._images / LOG)
            if locks:
                await asyncio.to_thread(self._lock, first, locks)
        except criu.CriuError as error:
            raise InternalError(f"the snapshot could not be restored: {error}") from error
        except TimeoutError as error:
            raise InternalError(f"the snapshot was not restored within {deadline_seconds:g} seconds") from error
        except OSError as error:
            raise InternalError(f"the snapshot could not be restored: {error}") from error
        finally:
            os.close(descriptor)

    def _lock(self, pid: int, locks: list[record_locks.RecordLock]) -> None:
        record_locks.take_again(pid, locks)
        record_locks.let_go(pid, self._images)

    def _options(self, descriptor: int, *, stopped: bool) -> CriuOptions:
        mounts = []
        for mount in self._facts.mounts:
            source = mount.partition("]:")[2]
            mounts.append(f"mnt[{source}]:{STAGE}/{source}")
        return CriuOptions(
            images_dir_fd=descriptor,
            root=f"{STAGE}/{stage.ROOT}",
            log_file=LOG,
            log_level=_LOG_LEVEL,
            notify_scripts=True,
            external=mounts,
            inherit_fd=[CriuInheritFd(key=key, fd=number) for number, key in enumerate(self._facts.files, FIRST_FILE)],
            empty_ns=CLONE_NEWNET,
            tcp_established=True,
            ext_unix_sk=True,
            file_locks=True,
            link_remap=True,
            manage_cgroups_mode=CRIU_CGROUPS_IGNORE,
            network_lock=CRIU_LOCK_SKIP,
            leave_stopped=stopped,
        )

    async def _move_in(self, pid: int, deadline_seconds: float) -> None:
        """Put around the new first process what is the node's part: file systems, and the slot's link to its network."""
        descriptors = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _NAMESPACES]
        _, netns, _, userns = descriptors
        try:
            report = await self._zygote.carry_out(FURNISH, self._request.encode(), descriptors, deadline_seconds)
            if "done" not in report:
                raise InternalError("the sandbox could not be brought back: its file system was not made")
            addresses = [address for address in (*self._facts.addresses, self._facts.address) if address != self._slot.ip]
            await self._pool.move_in(self._slot, userns, netns, list(dict.fromkeys(addresses)))
            descriptors = [number for number in descriptors if number not in (userns, netns)]
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
