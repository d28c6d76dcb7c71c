"""What a sandbox reads of its memory, its processors and its boot where the kernel would show the node's (ADR 0005)."""

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


_MEMINFO_ALL = ("MemTotal", "MemFree", "MemAvailable")
_MEMINFO_NONE = tuple(
    "Cached Active Inactive AnonPages Mapped Shmem Slab SReclaimable Buffers SwapCached SwapTotal SwapFree Dirty Writeback".split()
)
_ONLINE = "/sys/devices/system/cpu/online"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def show(root: str, memory_bytes: int, cpu_count: int, boot_id: str) -> None:
    """Cover the node's figures below `root`. The files belong to the sandbox's root, for its agent keeps the first one true."""
    mounts.mount("tmpfs", FACTS, "tmpfs", _NO_PROGRAMS, "size=1m,mode=755")
    for target, text in _covers(memory_bytes, cpu_count, boot_id).items():
        if os.path.exists(root + target):
            mounts.bind(_write(target, text), root + target)


def prepare(memory_bytes: int, cpu_count: int, base_uid: int, boot_id: str) -> None:
    """The same files, made by root of the node for a sandbox whose root is `base_uid`; it is for others to cover anything with them."""
    mounts.mount("tmpfs", FACTS, "tmpfs", _NO_PROGRAMS, f"size=1m,mode=755,uid={base_uid},gid={base_uid}")
    for target, text in _covers(memory_bytes, cpu_count, boot_id).items():
        os.chown(_write(target, text), base_uid, base_uid)


def _covers(memory_bytes: int, cpu_count: int, boot_id: str) -> dict[str, str]:
    covers = {"/proc/meminfo": _meminfo(memory_bytes >> 10)}
    if boot_id:
        covers[_BOOT_ID] = f"{boot_id}\n"
    if cpu_count < len(processors()):
        covers["/proc/cpuinfo"] = "".join(processors()[:cpu_count])
        covers[_ONLINE] = "0\n" if cpu_count == 1 else f"0-{cpu_count - 1}\n"
    return covers


def _meminfo(kib: int) -> str:
    """As long as what the agent writes there, now and in snapshots: who had it open is not restored with a file of another size."""
    width = max(8, len(str(2 * kib)))
    sizes = [*((name, kib) for name in _MEMINFO_ALL), *((name, 0) for name in _MEMINFO_NONE)]
    return "".join(f"{name + ':':<15} {size:>{width}} kB\n" for name, size in sizes)


def _write(target: str, text: str) -> str:
    path = f"{FACTS}/{os.path.basename(target)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    return path
