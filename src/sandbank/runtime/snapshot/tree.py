"""What a process tree has of the world outside its own namespaces, by the names that CRIU knows such things by."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbank.runtime.rootfs import resources, stage

# Mounted inside, with what is in them: CRIU makes them again.
_OWN = ("/", "/proc", "/proc/sys", "/proc/tty", "/dev/pts", f"/dev/{stage.SHARED_MEMORY}", "/dev/mqueue")
# What the kernel calls memory that processes share: on no mount of anybody's, and saved like any other.
_SHARED_MEMORY = ("/dev/zero (deleted)", "/memfd:", "/SYSV", "/anon_hugepage")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a mountinfo: where, which directory of its file system, which kind of that."""

    number: int
    point: str
    root: str
    kind: str


def mounts_of(pid: int) -> list[Mount]:
    """Every mount that the process sees."""
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split()
        found.append(Mount(int(fields[0]), _plain(fields[4]), _plain(fields[3]), fields[fields.index("-", 6) + 1]))
    return found


def _plain(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def outside_mounts(pid: int, volumes: Mapping[tuple[int, int], str]) -> dict[str, str]:
    """For each mount that comes from the stage, by its mount point: what on the stage it is.

    `volumes` names those on the stage by device and inode of their directories. `OSError` for a mount that nobody here has made.
    """
    found = {}
    for mount in mounts_of(pid):
        if mount.point not in _OWN:
            found[mount.point] = _source(pid, mount, volumes)
    return found


def _source(pid: int, mount: Mount, volumes: Mapping[tuple[int, int], str]) -> str:
    if mount.point == "/dev":
        return stage.DEVICES
    if mount.kind == "tmpfs" and mount.point.startswith(("/proc/", "/sys/")):
        name = os.path.basename(mount.point)
        if mount.root == f"/{name}":
            return f"{resources.FACTS}/{name}"
        if mount.root == "/null":
            return f"{stage.DEVICES}/null"
        if mount.point.startswith("/proc/"):
            return stage.NOTHING
    if mount.point == "/sys" or mount.point.startswith("/sys/"):
        return stage.SYSTEM + mount.point.removeprefix("/sys")
    status = os.stat(f"/proc/{pid}/root{mount.point}")
    with contextlib.suppress(KeyError):
        return volumes[status.st_dev, status.st_ino]
    raise OSError(f"the mount at {mount.point} is of an unknown kind")


def processes_of(pid: int) -> list[int]:
    """The process and all its descendants; those that end meanwhile may be missing."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.scandir(f"/proc/{parent}/task"):
                with contextlib.suppress(OSError):
                    found += map(int, Path(task.path, "children").read_text(encoding="ascii").split())
    return found


@dataclass(frozen=True, slots=True)
class OutsideFile:
    """A file of the node's, with its path as the kernel tells it: from the root of its file system where that is mounted elsewhere."""

    path: str
    device: int
    inode: int


def outside_files(pid: int) -> dict[str, OutsideFile]:
    """Files of the node's that processes of the tree have mapped, such as the agent's libraries, by CRIU's `file[mount:inode]`."""
    inside = {mount.number for mount in mounts_of(pid)}
    found: dict[str, OutsideFile] = {}
    for process in processes_of(pid):
        with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/map_files") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    _add_file(found, entry.path, inside)
    return found


def _add_file(found: dict[str, OutsideFile], path: str, inside: set[int]) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").split()
        mount = int(facts[facts.index("mnt_id:") + 1])
        name = os.readlink(path)
        if mount not in inside and not name.startswith(_SHARED_MEMORY):
            status = os.fstat(descriptor)
            found[f"file[{mount:x}:{status.st_ino:x}]"] = OutsideFile(name, status.st_dev, status.st_ino)
    finally:
        os.close(descriptor)
