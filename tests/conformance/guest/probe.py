#!/usr/bin/env python3
"""Runs inside a sandbox: tries one forbidden thing and prints `refused <errno>` or `ALLOWED`."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pty
import socket
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)

CALLS: dict[str, tuple[int, ...]] = {
    # x86-64 numbers: https://github.com/torvalds/linux/blob/master/arch/x86/entry/syscalls/syscall_64.tbl
    "bpf": (321, 0, 0, 0),
    "io_uring_setup": (425, 8, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, 0, 0, 0, 0, -3),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "init_module": (175, 0, 0, 0),
    "delete_module": (176, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0),
    "settimeofday": (164, 0, 0),
    "reboot": (169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0),
    "swapon": (167, 0, 0),
    "iopl": (172, 3),
    "pivot_root": (155, 0, 0),
    "unshare-user": (272, 0x10000000),
    "unshare-mount": (272, 0x00020000),
    "unshare-net": (272, 0x40000000),
    "fsopen": (430, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "syslog": (103, 3, 0, 0),
    "acct": (163, 0),
    "lookup_dcookie": (212, 0, 0, 0),
}
FAMILIES = {"packet": 17, "vsock": 40, "alg": 38, "bluetooth": 31, "can": 29, "xdp": 44, "rds": 21, "tipc": 30}
"""Socket families that reach drivers or hypervisors; `AF_*` of linux/socket.h."""

REFUSALS = {errno.EPERM, errno.ENOSYS, errno.EACCES, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT}


def refused(number: int) -> str:
    """The verdict for an errno: only a refusal for lack of permission counts, not a complaint about the arguments."""
    name = errno.errorcode.get(number, str(number))
    return f"refused {name}" if number in REFUSALS else f"ALLOWED (arguments judged: {name})"


def call(name: str) -> str:
    """Tries a system call by number with harmless arguments."""
    number, *arguments = CALLS[name]
    result = LIBC.syscall(number, *(ctypes.c_long(argument) for argument in arguments))
    return "ALLOWED" if result >= 0 else refused(ctypes.get_errno())


def family(name: str) -> str:
    """Tries to open a socket of a family."""
    try:
        socket.socket(FAMILIES[name], socket.SOCK_RAW if name in {"packet", "can", "bluetooth"} else socket.SOCK_STREAM).close()
    except OSError as error:
        return refused(error.errno or 0)
    return "ALLOWED"


def raw(_: str) -> str:
    """Tries to open a raw IP socket."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except OSError as error:
        return refused(error.errno or 0)
    return "ALLOWED"


def push_input(_: str) -> str:
    """Tries TIOCSTI: pushing input into a terminal, the way out of a su."""
    slave = pty.openpty()[1]
    try:
        fcntl.ioctl(slave, 0x5412, b"x")
    except OSError as error:
        return refused(error.errno or 0) if error.errno != errno.EIO else "refused EIO"
    return "ALLOWED"


def clone(_: str) -> str:
    """Tries clone(CLONE_NEWUSER), the other way to nested user namespaces."""
    child = LIBC.syscall(56, ctypes.c_long(0x10000000 | 17), 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        return "ALLOWED"
    return refused(ctypes.get_errno())


def ptrace(_: str) -> str:
    """Tries to attach to the sandbox's first process."""
    result = LIBC.ptrace(16, 1, 0, 0)
    return "ALLOWED" if result == 0 else refused(ctypes.get_errno())


def setns(path: str) -> str:
    """Tries to enter a namespace given by its file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return refused(error.errno or 0)
    result = LIBC.setns(descriptor, 0)
    return "ALLOWED" if result == 0 else refused(ctypes.get_errno())


WAYS: dict[str, Callable[[str], str]] = {
    "call": call,
    "family": family,
    "raw": raw,
    "tiocsti": push_input,
    "clone": clone,
    "ptrace": ptrace,
    "setns": setns,
}


if __name__ == "__main__":
    print(WAYS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else ""))
