"""The machine as `/proc` shows it (proc(5))."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from sandbank.orchestrator.core.machine import Disk, MachineLoad, Processor
from sandbank.runtime.linux.memory import memory_bytes


def processor() -> Processor:
    """The first CPU's description and how many CPUs this process may use."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip(), value.strip())
    return Processor(
        architecture=platform.machine(),
        count=len(os.sched_getaffinity(0)),
        family=fields.get("cpu family", fields.get("CPU architecture", "")),
        model=fields.get("model", fields.get("CPU part", "")),
        model_name=fields.get("model name", ""),
        flags=tuple(fields.get("flags", fields.get("Features", "")).split()),
    )


class Machine:
    """Samples load; `directory` tells which file system counts as the node's disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._busy, self._total = _cpu_ticks()
        self._mount = _mount_of(directory)

    def sample(self) -> MachineLoad:
        """CPU counts since the sample before, or since construction. A handful of small reads; does not block on devices."""
        busy, total = _cpu_ticks()
        spent = total - self._total
        percent = round(100 * (busy - self._busy) / spent) if spent > 0 else 0
        self._busy, self._total = busy, total
        memory_used, memory_total = memory_bytes()
        space = os.statvfs(self._directory)
        mount_point, device, filesystem_type = self._mount
        disk = Disk(
            mount_point=mount_point,
            device=device,
            filesystem_type=filesystem_type,
            used_bytes=(space.f_blocks - space.f_bfree) * space.f_frsize,
            total_bytes=space.f_blocks * space.f_frsize,
        )
        return MachineLoad(max(0, min(percent, 100)), memory_used, memory_total, disk)


def _cpu_ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]  # idle and iowait; guest time is already part of user time
    return sum(fields) - idle, sum(fields)


def _mount_of(directory: Path) -> tuple[str, str, str]:
    """Mount point, device and type of the file system `directory` is on: the mountinfo line with the longest matching mount point."""
    wanted = directory.resolve()
    best = ("/", "", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point = before.split()[4]
        if wanted.is_relative_to(mount_point) and len(mount_point) >= len(best[0]):
            filesystem_type, device = after.split()[:2]
            best = (mount_point, device, filesystem_type)
    return best
