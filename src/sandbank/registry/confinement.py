"""Giving up the machine: what unpacks a stranger's archive sees one directory, and may do there what root needs for writing files."""

from __future__ import annotations

import ctypes
import os
import resource

_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_FSETID, _CAP_SETFCAP = 0, 1, 3, 4, 31
_KEPT = (_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_FSETID, _CAP_SETFCAP)
_LAST_CAP = 63
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 24, 38, 1
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9
_MEMORY_BYTES = 1 << 30


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine(directory: str) -> None:
    """Make `directory` all there is, for the rest of this process's life: no device can be made, nothing mounted, no root left.

    What is open stays open; everything that is to be imported must have been. Ends with the parent. `OSError` without root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
    os.chroot(directory)
    os.chdir("/")
    for capability in range(_LAST_CAP + 1):
        if capability not in _KEPT and libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # the kernel knows no more of them
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    kept = sum(1 << capability for capability in _KEPT)
    sets = (_Sets * 2)(_Sets(kept, kept, 0), _Sets(0, 0, 0))
    _check(libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets), "capset")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
