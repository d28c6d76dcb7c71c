"""This machine's memory (proc(5))."""

from __future__ import annotations

from pathlib import Path


def memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """Used (what is not available to new programs) and total."""
    kib = {}
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])
    return (kib["MemTotal"] - kib["MemAvailable"]) * 1024, kib["MemTotal"] * 1024
