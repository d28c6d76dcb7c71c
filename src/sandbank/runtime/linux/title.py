"""What `ps` shows of a process that was forked and never executed anything."""

from __future__ import annotations

import ctypes
from pathlib import Path

from sandbank.runtime.linux.libc import check, libc

_PR_SET_NAME = 15
_NAME_BYTES = 15


def argument_area() -> tuple[int, int]:
    """Where this process's command line and environment lie in its memory: address and length. The same in every fork."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    arguments_start, environment_end = int(fields[45]), int(fields[48])
    return arguments_start, environment_end - arguments_start


def set_title(title: str, area: tuple[int, int]) -> None:
    """Show `title` as this process's command line and name, and nothing any more of the words and variables it was started with."""
    address, length = area
    text = title.encode()[: length - 1]
    if length > 0:
        ctypes.memset(address, 0, length)
        ctypes.memmove(address, text, len(text))
    set_name(title)


def set_name(name: str) -> None:
    """What the kernel calls this process, 15 characters at the most; forks are born with it."""
    check(libc.prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES], 0, 0, 0), "set name")
