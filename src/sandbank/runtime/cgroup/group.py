"""A sandbox's cgroup: its limits, what it uses, its end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sandbank.domain.errors import InternalError
from sandbank.runtime.cgroup.hierarchy import Hierarchy
from sandbank.runtime.driver import Limits

_PERIOD_MICROSECONDS = 100_000
_REMOVE_SECONDS = 5.0
_FREEZE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Usage:
    """A sample of one group. Cache is what gives way; files in tmpfs do not, although the kernel counts them as cache."""

    cpu_seconds: float
    memory_bytes: int
    memory_cache_bytes: int
    pids: int


class Groups:
    """All groups of one instance, below a parent of its own."""

    def __init__(self, hierarchy: Hierarchy, parent: str) -> None:
        self._hierarchy = hierarchy
        self._parent = parent

    def prepare(self) -> None:
        """Make the parent and hand the controllers down to it; `InternalError` says which controller there is none of."""
        if self._hierarchy.missing:
            raise InternalError(f"this kernel offers no cgroup controller for {', '.join(self._hierarchy.missing)}")
        for top in self._tops():
            (top / self._parent).mkdir(exist_ok=True)
        if self._hierarchy.unified:
            for directory in (self._hierarchy.unified, self._hierarchy.unified / self._parent):
                _write(directory / "cgroup.subtree_control", "+memory +cpu +pids")

    def group(self, name: str) -> Group:
        """The group of that name, whether it exists or not."""
        if self._hierarchy.unified:
            return Group({"": self._hierarchy.unified / self._parent / name}, unified=True)
        return Group({kind: top / self._parent / name for kind, top in self._hierarchy.legacy.items()}, unified=False)

    def names(self) -> list[str]:
        """Every group there is, in any hierarchy."""
        found: set[str] = set()
        for top in self._tops():
            with contextlib.suppress(FileNotFoundError):
                found.update(entry.name for entry in os.scandir(top / self._parent) if entry.is_dir())
        return sorted(found)

    def remove_parent(self) -> None:
        """Remove the parent; `OSError` while groups are left in it."""
        for top in self._tops():
            with contextlib.suppress(FileNotFoundError):
                (top / self._parent).rmdir()

    def _tops(self) -> set[Path]:
        return {self._hierarchy.unified} if self._hierarchy.unified else set(self._hierarchy.legacy.values())


class Group:
    """One sandbox's group: a directory on version 2, one per controller on version 1."""

    def __init__(self, directories: dict[str, Path], *, unified: bool) -> None:
        self._directories = directories
        self._unified = unified
        # On version 1 a process that moves its own one thread by `tasks` takes no global lock; by `cgroup.procs` it may wait for
        # milliseconds until every processor has passed a quiescent state.
        self._members_file = "cgroup.procs" if unified else "tasks"

    def create(self, limits: Limits) -> None:
        """Make it with its limits in force. Swap is off: a sandbox's memory is what it asked for."""
        for directory in set(self._directories.values()):
            directory.mkdir(exist_ok=True)
        memory = str(limits.memory_mib << 20)
        quota = limits.vcpu * _PERIOD_MICROSECONDS
        if self._unified:
            top = self._directories[""]
            _write(top / "memory.max", memory)
            _write_if_there(top / "memory.swap.max", "0")
            _write(top / "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
            _write(top / "pids.max", str(limits.pids))
            return
        _write(self._directories["memory"] / "memory.limit_in_bytes", memory)
        _write_if_there(self._directories["memory"] / "memory.memsw.limit_in_bytes", memory)
        # What waits in sockets is counted apart here, and not at all without a limit; all of TCP on the node shares one allowance.
        _write_if_there(self._directories["memory"] / "memory.kmem.tcp.limit_in_bytes", str((limits.memory_mib << 20) // 4))
        _write(self._directories["cpu"] / "cpu.cfs_quota_us", str(quota))
        _write(self._directories["pids"] / "pids.max", str(limits.pids))

    @property
    def join_paths(self) -> list[str]:
        """Files that a process writes `0` into to become a member."""
        return [f"{directory}/{self._members_file}" for directory in dict.fromkeys(self._directories.values())]

    @property
    def shown(self) -> dict[str, str]:
        """What the sandbox may read of it, as paths below /sys/fs/cgroup."""
        return {name: str(path) for name, path in self._directories.items() if name != "freezer"}

    def usage(self) -> Usage:
        """A sample; `OSError` once the group is gone."""
        if self._unified:
            top = self._directories[""]
            return Usage(
                _fields(top / "cpu.stat").get("usage_usec", 0) / 1e6,
                _number(top / "memory.current"),
                _cache(top / "memory.stat"),
                _number(top / "pids.current"),
            )
        memory = self._directories["memory"]
        accounting = self._directories.get("cpuacct")
        return Usage(
            _number(accounting / "cpuacct.usage") / 1e9 if accounting else 0.0,
            _number(memory / "memory.usage_in_bytes"),
            _cache(memory / "memory.stat"),
            _number(self._directories["pids"] / "pids.current"),
        )

    def pids(self) -> list[int]:
        """The members, by the node's numbers."""
        found: set[int] = set()
        for path in self.join_paths:
            with contextlib.suppress(FileNotFoundError):
                found.update(int(line) for line in Path(path).read_text(encoding="ascii").split())
        return sorted(found)

    @property
    def can_freeze(self) -> bool:
        """Whether this kernel has what `freeze` needs."""
        return self._unified or "freezer" in self._directories

    def freeze(self) -> None:
        """Let no member run any more, whatever it does. Those that a debugger has stopped need not be there yet: see `is_frozen`."""
        if self._unified:
            _write(self._directories[""] / "cgroup.freeze", "1")
        else:
            _write(self._directories["freezer"] / "freezer.state", "FROZEN")

    def thaw(self) -> None:
        """Let them run again. Idempotent."""
        if self._unified:
            _write(self._directories[""] / "cgroup.freeze", "0")
        elif "freezer" in self._directories:
            _write(self._directories["freezer"] / "freezer.state", "THAWED")

    def is_frozen(self) -> bool:
        """Whether every member stands still, waiting a little for those that are on their way; blocks, so call it off the event loop."""
        deadline = time.monotonic() + _FREEZE_SECONDS
        while True:
            if self._unified:
                frozen = _fields(self._directories[""] / "cgroup.events").get("frozen") == 1
            else:
                frozen = (self._directories["freezer"] / "freezer.state").read_text(encoding="ascii") == "FROZEN\n"
            if frozen or time.monotonic() > deadline:
                return frozen
            time.sleep(0.001)

    def kill(self) -> None:
        """Kill every member, and no longer hold them to their share of the processor: thousands that spin would take long to end by it.

        Their first process alone would have to wait for its turn among them before the kernel ends the rest.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._unified:
                _write(self._directories[""] / "cpu.max", f"max {_PERIOD_MICROSECONDS}")
                _write_if_there(self._directories[""] / "cgroup.kill", "1")  # Linux 5.14
            else:
                _write(self._directories["cpu"] / "cpu.cfs_quota_us", "-1")
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            self.thaw()  # on version 1 who is frozen does not even die

    def remove(self) -> None:
        """Remove it, waiting a little for processes that are on their way out; blocks, so call it off the event loop. Idempotent."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        for directory in set(self._directories.values()):
            while True:
                try:
                    _remove_tree(directory)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)


def _remove_tree(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(Path(entry.path))
        directory.rmdir()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _write_if_there(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # kernels without swap accounting
        _write(path, text)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in path.read_text(encoding="ascii").splitlines())
    return {key: int(value) for key, _, value in pairs}


def _cache(path: Path) -> int:
    fields = _fields(path)
    if "total_cache" in fields:
        return max(fields["total_cache"] - fields.get("total_shmem", 0), 0)
    return max(fields.get("file", 0) - fields.get("shmem", 0), 0) + fields.get("slab_reclaimable", 0)
