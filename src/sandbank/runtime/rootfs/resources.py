"""What a sandbox reads of its memory and processors where the kernel would show the node's (ADR 0005)."""

from __future__ import annotations

import functools
import os

from sandbank.runtime.linux import mounts

FACTS = "facts"  # on the stage; its files outlive it below /proc and /sys
_NO_PROGRAMS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


@functools.cache
def processors() -> tuple[str, ...]:
    """The node's, as /proc/cpuinfo describes each; asked once, since the kernel wakes all of them to answer."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        blocks = file.read().split("\n\n")
    return tuple(f"{block}\n\n" for block in blocks if block.startswith("processor"))


def show(root: str, memory_bytes: int, cpu_count: int) -> None:
    """Cover the node's figures below `root`. The files belong to the sandbox's root, for its agent keeps the first one true."""
    mounts.mount("tmpfs", FACTS, "tmpfs", _NO_PROGRAMS, "size=1m,mode=755")
    kib = f"{memory_bytes >> 10:>8} kB\n"
    _cover(f"{root}/proc/meminfo", "meminfo", f"MemTotal:       {kib}MemFree:        {kib}MemAvailable:   {kib}")
    if cpu_count >= len(processors()):
        return
    _cover(f"{root}/proc/cpuinfo", "cpuinfo", "".join(processors()[:cpu_count]))
    _cover(f"{root}/sys/devices/system/cpu/online", "online", "0\n" if cpu_count == 1 else f"0-{cpu_count - 1}\n")


def _cover(target: str, name: str, text: str) -> None:
    if not os.path.exists(target):
        return
    path = f"{FACTS}/{name}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    mounts.bind(path, target)
