"""The sandbox's own `/proc/meminfo`: a file that the node's code mounts there, and that the agent writes (ADR 0005).

It is written when a command starts and at no other time, so an idle sandbox stays idle. Programs that run for long read the sizes of their
beginning; what is there in all is always true.
"""

from __future__ import annotations

import os
import time

from sandbank.envd import usage

PATH = "/proc/meminfo"
_LEAST_SECONDS = 0.5
_ZEROES = ("Buffers", "SwapCached", "SwapTotal", "SwapFree", "Dirty", "Writeback")


def render(limit_bytes: int, memory: usage.Memory) -> bytes:
    """The fields that `free`, `top` and common libraries read, in the kernel's form.

    Always of the length that the node's code begins with (`runtime/rootfs/resources.py`): a process that has the file open is only restored
    from a snapshot if that has not changed.
    """
    width = max(8, len(str(limit_bytes >> 9)))  # cache and tmpfs together may seem to be twice the limit
    resident = memory.used + memory.cached
    fields = {
        "MemTotal": limit_bytes,
        "MemFree": max(0, limit_bytes - resident),
        "MemAvailable": limit_bytes - memory.used,
        "Cached": memory.cached + memory.shared,  # the kernel counts tmpfs as cache, too
        "Active": resident // 2,
        "Inactive": resident - resident // 2,
        "AnonPages": max(0, memory.used - memory.shared),
        "Mapped": 0,
        "Shmem": memory.shared,
        "Slab": 0,
        "SReclaimable": 0,
        **dict.fromkeys(_ZEROES, 0),
    }
    return "".join(f"{name + ':':<15} {size >> 10:>{width}} kB\n" for name, size in fields.items()).encode()


class MemoryFile:
    """Brings the file up to date; does nothing where the kernel's own is."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._is_ours: bool | None = None
        self._written_at = 0.0

    def refresh(self) -> None:
        """Write what is true now, unless that was done half a second ago. Costs some 50 microseconds; never raises."""
        now = time.monotonic()
        if self._is_ours is False or now - self._written_at < _LEAST_SECONDS:
            return
        self._written_at = now
        try:
            if self._is_ours is None:
                self._is_ours = os.stat(PATH).st_dev != os.stat("/proc").st_dev
            if self._is_ours:
                self._write(render(self._limit_bytes, usage.memory(self._limit_bytes)))
        except OSError:
            return

    @staticmethod
    def _write(text: bytes) -> None:
        descriptor = os.open(PATH, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, text, 0)  # in one piece and of the same length: a reader sees the old or the new
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)
