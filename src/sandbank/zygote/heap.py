"""The zygote's memory in a file, which its forks map instead of having it to themselves (ADR 0015).

A fork shares the zygote's pages only until it is saved: a snapshot has to hold every page that is nobody's but the process's, and what is
brought back from it is shared no more. Pages of a file are neither saved nor copied. So once everything is loaded, what the zygote has in
memory is written to a file and mapped from there, privately: what a fork changes is its own as before, the rest stays the file's.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from dataclasses import dataclass

_ENTRY = struct.Struct("<QQQQ")
# Called with (entries, how many, file to write, file to map); answers how many were left undone. It touches no memory but the stack, so
# that what is written is what is mapped a moment later. For each entry (address, length, offset, protection): pwrite(2), mmap(2).
_X86_64 = bytes.fromhex(
    "53 55 41 54 41 55"  # push rbx, rbp, r12, r13
    "48 89 fb 48 89 f5 49 89 d4 49 89 cd"  # rbx, rbp, r12, r13 = the arguments
    "48 85 ed 74 48"  # next: test rbp, rbp; jz end
    "b8 12 00 00 00 4c 89 e7 48 8b 33 48 8b 53 08 4c 8b 53 10 0f 05"  # pwrite64(r12, address, length, offset)
    "48 3b 43 08 75 2d"  # cmp rax, length; jne end
    "b8 09 00 00 00 48 8b 3b 48 8b 73 08 48 8b 53 18 41 ba 12 00 00 00 4d 89 e8"  # mmap(address, length, protection,
    "4c 8b 4b 10 0f 05"  # MAP_PRIVATE | MAP_FIXED, r13, offset)
    "48 3b 03 75 09"  # cmp rax, address; jne end
    "48 83 c3 20 48 ff cd eb b3"  # add rbx, 32; dec rbp; jmp next
    "48 89 e8 41 5d 41 5c 5d 5b c3"  # end: return rbp
)
_CODE = {"x86_64": _X86_64}
# For the code and the entries, thousands of them.
_ROOM = 256 << 10


@dataclass(frozen=True, slots=True)
class Area:
    """A mapping of this process, with its protection as mmap(2) wants it."""

    start: int
    length: int
    protection: int


def move_into(path: str) -> int:
    """Have the memory of this process, which must have one thread, in a new file at `path`, but for its stack; how many bytes that are.

    0 where there is no code for this machine's processor. `OSError` when the file cannot be made. Should the disk be full, what fits is
    moved and the rest stays memory. When this returns the file is on disk.
    """
    code = _CODE.get(platform.machine())
    if code is None:
        return 0
    writable = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)  # a sandbox's root maps it when it is brought back
    readable = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # what is mapped from this one can never be written through
    try:
        with mmap.mmap(-1, _ROOM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as room:
            moved = _move(room, code, writable, readable)
        os.fsync(writable)
        return moved
    finally:
        os.close(writable)
        os.close(readable)


def _move(room: mmap.mmap, code: bytes, writable: int, readable: int) -> int:
    # Nothing between looking at the areas and the call may make or give up one of them, so nothing large happens there.
    entry = ctypes.c_char.from_buffer(room)
    origin = ctypes.addressof(entry)
    del entry
    call = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)(origin)
    room[: len(code)] = code
    count = offset = 0
    for area in _areas():
        if not area.start <= origin < area.start + area.length:
            _ENTRY.pack_into(room, mmap.PAGESIZE + count * _ENTRY.size, area.start, area.length, offset, area.protection)
            count += 1
            offset += area.length
    left = call(origin + mmap.PAGESIZE, count, writable, readable)
    return offset if not left else _ENTRY.unpack_from(room, mmap.PAGESIZE + (count - left) * _ENTRY.size)[2]


def _areas() -> list[Area]:
    """What is this process's own, by address: private, changed since it was mapped, and neither code nor the stack."""
    found = []
    header: list[str] = []
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as lines:
        for line in lines:
            fields = line.split()
            if not fields[0].endswith(":"):
                header = fields
            elif fields[0] == "Anonymous:" and fields[1] != "0" and _is_data(header):
                start, _, end = header[0].partition("-")
                protection = mmap.PROT_READ | (mmap.PROT_WRITE if header[1][1] == "w" else 0)
                found.append(Area(int(start, 16), int(end, 16) - int(start, 16), protection))
    return found


def _is_data(header: list[str]) -> bool:
    kept = header[5:6] and header[5].startswith("[") and header[5] != "[heap]"
    return header[1][0] == "r" and header[1][2:] == "-p" and not kept
