"""The kernel's file notifications.

ctypes, although system calls otherwise live in `runtime.linux`: the agent is forked into sandboxes and imports nothing of the node's
runtime, and the standard library has no inotify. The C library is the one already in the process; nothing is opened for it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

MODIFY = 0x2
ATTRIB = 0x4
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_DIRECTORY = 0x40000000
_DONT_FOLLOW = 0x02000000
_ONLY_DIRECTORIES = 0x01000000
_INTEREST = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF

_HEAD = struct.Struct("iIII")
_READ_BYTES = 64 * 1024
_LARGEST_BYTES = _HEAD.size + 256 + _HEAD.size  # a name of 255 bytes, with its end and padding

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = (ctypes.c_int,)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)


@dataclass(frozen=True, slots=True)
class Notification:
    """What happened to `name` in the directory of `watch`, or to that directory itself when `name` is empty."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance; `descriptor` becomes readable when there is news. Calls raise `OSError`."""

    def __init__(self) -> None:
        self.descriptor: int = self._check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def add(self, path: str, *, follow: bool) -> int:
        """Watch a directory; the same number again when it is watched already."""
        flags = _INTEREST | _ONLY_DIRECTORIES | (0 if follow else _DONT_FOLLOW)
        return self._check(_libc.inotify_add_watch(self.descriptor, os.fsencode(path), flags))

    def remove(self, watch: int) -> None:
        """Stop watching; a watch that the kernel dropped already is fine."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> tuple[list[Notification], bool]:
        """What has queued up since, at most one buffer full, and whether the queue was empty then."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return [], True
        found: list[Notification] = []
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            found.append(Notification(watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return found, len(data) < _READ_BYTES - _LARGEST_BYTES

    def close(self) -> None:
        """Drop every watch."""
        os.close(self.descriptor)
