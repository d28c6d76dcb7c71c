"""The processes of an installation: finding them and killing them the hard way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.product.instance import Instance, InstanceError


def service_pid(instance: Instance) -> int:
    """The process that has all services of the embedded mode."""
    return int((instance.run_dir / "sandbank.pid").read_text())


def zygote_pid(instance: Instance) -> int:
    """The process that sandboxes are forked from: the service's child that is called so."""
    found = [pid for pid in descendants(service_pid(instance)) if "zygote" in command_of(pid)]
    if not found:
        raise InstanceError(f"no zygote among {[command_of(pid) for pid in descendants(service_pid(instance))]}")
    return found[0]


def command_of(pid: int) -> str:
    """Name and arguments; empty for a process that is gone."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        return name + " " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, parents first."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = list(parents.get(pid, []))
    while waiting:
        current = waiting.pop(0)
        found.append(current)
        waiting += parents.get(current, [])
    return found


def kill_hard(pid: int) -> None:
    """SIGKILL: no handler runs, nothing is flushed."""
    os.kill(pid, signal.SIGKILL)
