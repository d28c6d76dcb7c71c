"""Facts about processes, read from /proc."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Container
from pathlib import Path

_NS_GET_OWNER_UID = 0xB704  # linux/nsfs.h


def start_time(pid: int) -> int:
    """When `pid` started, in clock ticks since boot: with the pid it names a process for good. `OSError` when there is none."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The second field is the command's name in parentheses, which may hold anything.
    return int(text.rpartition(")")[2].split()[19])


def outer_uid(pid: int) -> int:
    """The first host uid of the process's user namespace; `OSError` when there is no such process."""
    fields = Path(f"/proc/{pid}/uid_map").read_text(encoding="ascii").split()
    return int(fields[1]) if fields else -1


def namespace_owner(pid: int) -> int:
    """Whose the user namespace of the process is, as a uid of the node; `OSError` when there is no such process."""
    descriptor = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _NS_GET_OWNER_UID, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
    finally:
        os.close(descriptor)


def kill(pidfd: int) -> None:
    """SIGKILL; a process that has ended is fine."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def reap(pidfd: int) -> None:
    """Collect the exit status should the process be a child of ours, which it is once its zygote has died."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


def reap_orphans(names: Container[str], spare: int) -> None:
    """Collect ended children with one of those command names, but never `spare`: forks of a zygote that died before them came to us.

    Everything else that this process starts has another name and somebody who waits for it.
    """
    for task in os.scandir("/proc/self/task"):
        for pid in _children(task.path):
            try:
                _, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").partition("(")
                command, _, fields = rest.rpartition(")")
                if pid != spare and command in names and fields.split()[0] == "Z":
                    os.waitpid(pid, os.WNOHANG)
            except (FileNotFoundError, ProcessLookupError, ChildProcessError):
                continue


def _children(task: str) -> list[int]:
    try:
        return [int(pid) for pid in Path(task, "children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):  # that thread has ended
        return []
