"""Thin, typed wrappers of the C library's system calls that Python lacks. Each raises `OSError` with the errno."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(result: int, what: str) -> int:
    """`result` of a call that says failure by a negative number; `what` names it in the error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def setns(descriptor: int, kind: int) -> None:
    """Move this thread into the namespace behind `descriptor`."""
    check(libc.setns(descriptor, kind), "setns")


def unshare(flags: int) -> None:
    """Give this process namespaces of its own."""
    check(libc.unshare(flags), "unshare")
