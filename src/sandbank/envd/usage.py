"""What the sandbox uses, by its own cgroup and quota; by `/proc`, which has only the sandbox's processes, where those are not shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CGROUP_V2 = "/sys/fs/cgroup"
_CGROUP_V1 = "/sys/fs/cgroup/memory"
_ACCOUNTING_V1 = "/sys/fs/cgroup/cpuacct/cpuacct.usage"
_QUOTA = "/sys/fs/quota"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `used` cannot be had for something else, `cached` can; memory that files in tmpfs take is used."""

    used: int
    cached: int
    shared: int


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


def _is_own_group(limit_bytes: int) -> bool:
    """Version 1 shows a number where there is no limit; the machine's own group has none, or more than the sandbox."""
    limit = _number(f"{_CGROUP_V1}/memory.limit_in_bytes")
    return limit is not None and limit <= limit_bytes


def memory(limit_bytes: int) -> Memory:
    """Within `limit_bytes`, the sandbox's own."""
    current, prefix = None, ""
    if _number(f"{_CGROUP_V2}/memory.max") is not None:
        current, table = _number(f"{_CGROUP_V2}/memory.current"), _table(_read(f"{_CGROUP_V2}/memory.stat"))
    elif _is_own_group(limit_bytes):
        current, table, prefix = _number(f"{_CGROUP_V1}/memory.usage_in_bytes"), _table(_read(f"{_CGROUP_V1}/memory.stat")), "total_"
    if current is None:
        return _memory_of_processes(limit_bytes)
    shared = table.get(f"{prefix}shmem", 0)
    cached = max(0, table.get("file", table.get("total_cache", 0)) - shared)
    used = max(0, current - cached - table.get("slab_reclaimable", 0))
    return Memory(min(used, limit_bytes), min(cached, limit_bytes), min(shared, limit_bytes))


def _memory_of_processes(limit_bytes: int) -> Memory:
    used = shared = 0
    for pid in _processes():
        shares = _table(_read(f"/proc/{pid}/smaps_rollup"))
        if "Pss_Anon" in shares:
            used += shares["Pss_Anon"]
            shared += shares.get("Pss_Shmem", 0)
        else:
            status = _table(_read(f"/proc/{pid}/status"))
            used += status.get("RssAnon", 0)
            shared += status.get("RssShmem", 0)
    return Memory(min((used + shared) << 10, limit_bytes), 0, min(shared << 10, limit_bytes))


def cpu_seconds(memory_limit_bytes: int) -> float:
    """Of all that ever ran inside."""
    if _number(f"{_CGROUP_V2}/memory.max") is not None:
        return _table(_read(f"{_CGROUP_V2}/cpu.stat")).get("usage_usec", 0) / 1e6
    if _is_own_group(memory_limit_bytes) and (nanoseconds := _number(_ACCOUNTING_V1)) is not None:
        return nanoseconds / 1e9
    ticks = 0  # a process that ends passes its time to who reaps it
    for pid in _processes():
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 14:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_SECOND


def disk() -> tuple[int, int]:
    """Total and used bytes: of the quota if there is one (the file system has all sandboxes'), else of the file system."""
    total = _number(f"{_QUOTA}/max_referenced")
    if total:
        used = (_number(f"{_QUOTA}/referenced") or 0) + (_number(f"{_QUOTA}/rsv_data") or 0)
        return total, min(used, total)
    status = os.statvfs("/")
    total = status.f_blocks * status.f_frsize
    return total, total - status.f_bavail * status.f_frsize
