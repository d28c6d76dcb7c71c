"""Locks on ranges of files (POSIX) that a restore loses: those on files that the same process has mapped.

A process loses all its locks on a file when it closes any descriptor of it. CRIU (4.2) takes them first, maps then, and closes what it
mapped from. SQLite's write-ahead log is such a file: without its lock, the next to open the database takes it for abandoned, and cuts off
what the first has mapped. So processes that had such locks are not let go before they have them again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

import structlog

from sandbank.runtime.linux.tracing import CAN_CALL, Tracee
from sandbank.runtime.snapshot.image import entries, fields
from sandbank.runtime.snapshot.tree import processes_of

logger = structlog.get_logger(__name__)

_POSIX = 1  # FL_POSIX of the kernel's, as CRIU has it
_FCNTL, _F_SETLK = 72, 6
_STOPPED = 3  # a task's state in its image
_FLOCK = struct.Struct("<hhxxxxqqixxxx")


@dataclass(frozen=True, slots=True)
class RecordLock:
    """Of the process with this number inside, by this descriptor; `length` 0 is to the end of the file."""

    pid: int
    descriptor: int
    kind: int
    start: int
    length: int


def saved(images: Path) -> list[RecordLock]:
    """Those of a snapshot; none on machines where nothing can be done about them."""
    if not CAN_CALL:
        return []
    try:
        image = (images / "filelocks.img").read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for entry in entries(image):
        numbers = fields(entry)
        if int(numbers[1]) == _POSIX:
            found.append(RecordLock(*(int(numbers.get(number, 0)) for number in (3, 4, 2, 5, 6))))
    return found


def take_again(pid: int, locks: list[RecordLock]) -> None:
    """For the tree below `pid`, whose processes are all stopped. Blocks.

    A process that cannot have its lock goes on without: that is less than a sandbox that cannot be brought back.
    """
    outer = {_inner(process): process for process in processes_of(pid)}
    lost = {(lock.pid, lock.descriptor): False for lock in locks}
    for inner, descriptor in lost:
        with contextlib.suppress(OSError, KeyError):
            facts = Path(f"/proc/{outer[inner]}/fdinfo/{descriptor}").read_text(encoding="ascii")
            lost[inner, descriptor] = "POSIX" not in facts
    for lock in locks:
        if lost[lock.pid, lock.descriptor]:
            try:
                with Tracee(outer[lock.pid]) as tracee:
                    tracee.call(_FCNTL, lock.descriptor, _F_SETLK, _FLOCK.pack(lock.kind, os.SEEK_SET, lock.start, lock.length, 0))
            except OSError as error:
                logger.warning("a file lock could not be restored", pid=lock.pid, error=str(error))


def let_go(pid: int, images: Path) -> None:
    """Go on, children before their parents: a shell that saw its child stopped would take that for the user's doing. Blocks."""
    for process in reversed(processes_of(pid)):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if _state(images / f"core-{_inner(process)}.img") != _STOPPED:
                os.kill(process, signal.SIGCONT)


def _inner(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    raise FileNotFoundError(process)


def _state(core: Path) -> int:
    task = fields(entries(core.read_bytes())[0]).get(3, b"")
    return int(fields(task).get(1, 0)) if isinstance(task, bytes) else 0
