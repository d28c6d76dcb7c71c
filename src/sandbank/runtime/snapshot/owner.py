"""Running CRIU as the owner of a sandbox's user namespace instead of as root (ADR 0014).

What the kernel counts by user (inotify, queued signals, locked memory, message queues) it counts again, one level up, for who made the
namespace: each sandbox has an owner of its own for that reason, the first of its uids on the node. Whoever reads its limits must be that
owner or have CAP_SYS_RESOURCE, which root has not everywhere. CRIU asks who it is, though, and does only half of its work for anybody but
root, whatever capabilities it has. Hence a library, loaded before all others, that answers this question with root.
"""

from __future__ import annotations

import platform
import struct
from pathlib import Path

from sandbank.runtime.linux import tracing

_ASKED = ("geteuid", "getuid")
# Machine number of ELF, and `return 0`.
_RETURN_ZERO = {"x86_64": (62, b"\x31\xc0\xc3"), "aarch64": (183, struct.pack("<II", 0x52800000, 0xD65F03C0))}
_HEADER, _SEGMENT, _SYMBOL = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), struct.Struct("<IBBHQQ")
_SETREUID, _UNCHANGED = 113, (1 << 64) - 1
_PRCTL, _PR_SET_DUMPABLE = 157, 4
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT = 4, 5, 6, 10, 11


def command(criu: Path, library: Path, uid: int) -> list[str]:
    """The program and first arguments of a CRIU that runs as `uid`, with every capability that this process has."""
    kept = ",".join(["-all", *(f"+cap_{number}" for number in _permitted())])
    become = ["/usr/bin/setpriv", f"--reuid={uid}", f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    return ["/usr/bin/env", f"LD_PRELOAD={library}", *become, str(criu)]


def become(program: int, uid: int) -> None:
    """Have a CRIU that waits for an answer be `uid` when it makes namespaces, which `uid` owns then. It keeps every capability.

    Nothing is done where that is not possible. `OSError` when it has ended.
    """
    if tracing.CAN_CALL:
        with tracing.Tracee(program) as tracee:
            tracee.call(_SETREUID, _UNCHANGED, uid, b"")
            # Which that has undone; without it what a child has in /proc belongs to the node's root and not to the child.
            tracee.call(_PRCTL, _PR_SET_DUMPABLE, 1, b"")


def become_root_again(program: int, *, but: int) -> None:
    """The opposite, when it has made them, for itself and its helper; `but` is the first process in them."""
    if tracing.CAN_CALL:
        children = Path(f"/proc/{program}/task/{program}/children").read_text(encoding="ascii").split()
        for pid in (program, *map(int, children)):
            if pid != but:
                become(pid, 0)


def _permitted() -> list[int]:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))
    return [number for number in range(64) if mask >> number & 1]


def write_library(directory: Path) -> Path:
    """Put the library into a directory, in place of an earlier one; its path. Blocks."""
    path = directory / "root.so"
    aside = directory / ".root.so"
    aside.write_bytes(_library(*_RETURN_ZERO[platform.machine()]))
    aside.chmod(0o755)
    aside.rename(path)
    return path


def _library(machine: int, code: bytes) -> bytes:
    """A shared object for 64 bits, little-endian: one segment, the code, and the tables by which a loader finds it."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in _ASKED)
    count = len(_ASKED) + 1
    code_at = _aligned(_HEADER.size + 3 * _SEGMENT.size)
    symbols_at = _aligned(code_at + len(code))
    names_at = symbols_at + count * _SYMBOL.size
    hash_at = _aligned(names_at + len(names))
    chains = [0, *range(2, count), 0]  # one bucket, whose chain goes through all symbols
    hashes = struct.pack(f"<{3 + count}I", 1, count, 1, *chains)
    dynamic_at = _aligned(hash_at + len(hashes))
    symbols = bytes(_SYMBOL.size)
    for name in _ASKED:
        symbols += _SYMBOL.pack(names.index(name.encode() + b"\0"), 0x12, 0, 1, code_at, len(code))  # a global function
    entries = ((_HASH, hash_at), (_STRTAB, names_at), (_SYMTAB, symbols_at), (_STRSZ, len(names)), (_SYMENT, _SYMBOL.size), (0, 0))
    dynamic = b"".join(struct.pack("<qQ", tag, value) for tag, value in entries)
    end = dynamic_at + len(dynamic)
    header = _HEADER.pack(b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 3, 64, 0, 0)
    segments = b"".join(
        (
            _SEGMENT.pack(_LOAD, 7, 0, 0, 0, end, end, 0x1000),
            _SEGMENT.pack(_DYNAMIC, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8),
            _SEGMENT.pack(_STACK, 6, 0, 0, 0, 0, 0, 16),
        )
    )
    parts = ((0, header + segments), (code_at, code), (symbols_at, symbols), (names_at, names), (hash_at, hashes), (dynamic_at, dynamic))
    image = bytearray(end)
    for at, part in parts:
        image[at : at + len(part)] = part
    return bytes(image)


def _aligned(offset: int) -> int:
    return (offset + 15) & ~15
