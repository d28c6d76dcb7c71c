"""Capabilities, resource limits and process attributes."""

from __future__ import annotations

import ctypes

from sandbank.runtime.linux.libc import check, libc

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT = 4, 24, 36, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522

# Numbers from linux/capability.h.
_KEPT = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,  # inside the user namespace's own files only; open_by_handle_at wants it in the first namespace
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "IPC_LOCK": 14,
    "SYS_CHROOT": 18,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
KEPT_MASK = sum(1 << number for number in _KEPT.values())


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_bounding_set(kept: int) -> None:
    """Nothing that this process starts can ever have a capability outside of `kept`, setuid root programs included."""
    for number in range(64):
        if kept >> number & 1:
            continue
        if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) < 0:
            break  # past the kernel's last capability


def limit_capabilities(kept: int) -> None:
    """Give up every other capability of this very process; inheritable and ambient sets become empty."""
    check(libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0), "clear ambient capabilities")
    header = _Header(_CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    check(libc.capset(ctypes.byref(header), data), "capset")


def regain_capabilities() -> None:
    """Make every permitted capability effective again, which a change of the effective uid away from root has ended."""
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    check(libc.capget(ctypes.byref(header), data), "capget")
    for half in data:
        half.effective = half.permitted
    check(libc.capset(ctypes.byref(header), data), "capset")


def set_dumpable() -> None:
    """Undo what a change of uid does: without it the files in /proc/<pid> belong to a root that is not ours."""
    check(libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0), "set dumpable")


def keep_capabilities() -> None:
    """Let no change of uid take any from now on, in programs that this process becomes as well."""
    check(libc.prctl(_PR_SET_SECUREBITS, ctypes.c_ulong(_SECBIT_NO_SETUID_FIXUP), 0, 0, 0), "keep capabilities")


def become_subreaper() -> None:
    """Orphaned descendants become our children, so that somebody reaps them."""
    check(libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "become subreaper")
