"""`GET /metrics`: what the sandbox uses of what it was given (data-plane contract §4.3).

The limits come from the sandbox's configuration. Usage comes from its cgroup where that is visible, else from `/proc`, which shows the
sandbox's own processes only, while `/proc/stat` and `/proc/meminfo` would show the node's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

_MIB = 1024 * 1024
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CGROUP_V2 = "/sys/fs/cgroup"
_CGROUP_V1 = "/sys/fs/cgroup/memory"


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _table(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, *values = line.replace(":", " ").split()
        if values and values[0].isdecimal():
            found[name] = int(values[0])
    return found


def _processes() -> Iterator[str]:
    return (name for name in os.listdir("/proc") if name.isdecimal())


def cpu_seconds() -> float:
    """CPU time of every process inside, the reaped children of each included: a process that ends passes its time to who reaps it."""
    ticks = 0
    for pid in _processes():
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 14:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_SECOND


def memory_bytes(limit_bytes: int) -> tuple[int, int]:
    """Used (without page cache) and cached. A visible cgroup counts only if it is the sandbox's: one that is limited."""
    v2, v1 = _number(f"{_CGROUP_V2}/memory.max"), _number(f"{_CGROUP_V1}/memory.limit_in_bytes")
    if v2 is not None:
        cached = _table(_read(f"{_CGROUP_V2}/memory.stat")).get("file", 0)
        return max(0, (_number(f"{_CGROUP_V2}/memory.current") or 0) - cached), cached
    if v1 is not None and v1 <= limit_bytes:
        cached = _table(_read(f"{_CGROUP_V1}/memory.stat")).get("total_cache", 0)
        return max(0, (_number(f"{_CGROUP_V1}/memory.usage_in_bytes") or 0) - cached), cached
    used = 0
    for pid in _processes():
        shares = _table(_read(f"/proc/{pid}/smaps_rollup"))
        if "Pss_Anon" in shares:
            used += shares["Pss_Anon"] + shares.get("Pss_Shmem", 0)
        else:
            status = _table(_read(f"/proc/{pid}/status"))
            used += status.get("RssAnon", 0) + status.get("RssShmem", 0)
    return used * 1024, 0


class Metrics:
    """The handler; CPU is measured between calls."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._last: tuple[float, float] | None = None

    def _cpu_percent(self) -> float:
        now, used = time.monotonic(), cpu_seconds()
        last, self._last = self._last, (now, used)
        if last is None or now <= last[0]:
            return 0.0
        share = (used - last[1]) / (now - last[0]) / self._state.cpu_count
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    def collect(self) -> dict[str, Any]:
        """One measurement."""
        total = self._state.memory_limit_bytes
        used, cached = memory_bytes(total)
        disk = os.statvfs("/")
        disk_total = disk.f_blocks * disk.f_frsize
        disk_available = disk.f_bavail * disk.f_frsize
        if 0 < self._state.disk_limit_bytes < disk_total:  # the filesystem does not show the sandbox's quota
            disk_total = self._state.disk_limit_bytes
            disk_available = min(disk_available, disk_total)
        return {
            "ts": int(time.time()),
            "cpu_count": self._state.cpu_count,
            "cpu_used_pct": self._cpu_percent(),
            "mem_total": total,
            "mem_used": min(used, total),
            "mem_cache": min(cached, total),
            "mem_total_mib": total // _MIB,
            "mem_used_mib": min(used, total) // _MIB,
            "disk_total": disk_total,
            "disk_used": disk_total - disk_available,
        }

    async def __call__(self, request: Request, response: Response) -> None:
        """The measurement as JSON."""
        await response.send_json(200, self.collect(), {"Cache-Control": "no-store"})
