"""Paths that cannot lead out of a directory, whatever links and races are inside: openat2 (Linux 5.6)."""

from __future__ import annotations

import ctypes
import errno
import os

from sandbank.runtime.linux.libc import check, libc

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_TRIES = 32  # the kernel says EAGAIN where a rename beside it might have led it astray


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if the directory behind `root` were `/`: absolute links and `..` stay inside. The caller closes it."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    encoded = os.fsencode(path) or b"."
    for _ in range(_TRIES):
        try:
            size = ctypes.c_size_t(ctypes.sizeof(how))
            return check(libc.syscall(_SYS_OPENAT2, root, encoded, ctypes.byref(how), size), "openat2")
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EBUSY, "the directory is being changed too often")


def make_directories(root: int, path: str, mode: int = 0o755) -> int:
    """Open the directory `path` below `root`, making what is missing of it; the caller closes it."""
    current = open_in(root, ".", os.O_PATH | os.O_DIRECTORY)
    walked = ""
    try:
        for name in (part for part in path.split("/") if part not in ("", ".")):
            walked = f"{walked}/{name}"
            try:
                following = open_in(root, walked, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                os.mkdir(name, mode, dir_fd=current)
                following = open_in(root, walked, os.O_PATH | os.O_DIRECTORY)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current
