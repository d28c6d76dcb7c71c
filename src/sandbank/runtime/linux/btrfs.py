"""Subvolumes of btrfs and how much each may hold. Every failure is an `OSError`; ENOTTY means another file system."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# From linux/btrfs.h; the same on every architecture.
_SUBVOLUME_CREATE, _SUBVOLUME_DESTROY, _SNAPSHOT_CREATE = 0x5000940E, 0x5000940F, 0x50009417
_INODE_LOOKUP, _INODE_LOOKUP_BYTES = 0xD0009412, 4096
_FS_INFO, _FS_INFO_BYTES = 0x8400941F, 1024
_QUOTA_CONTROL, _QGROUP_LIMIT = 0xC0109428, 0x8030942B
_QUOTA_ENABLE, _QUOTA_ENABLE_SIMPLE = 1, 4
_LIMIT_REFERENCED = 1
_VOLUME_ARGUMENTS = struct.Struct("=q4088s")
_SNAPSHOT_ARGUMENTS = struct.Struct("=qQQ32x4040s")
_SNAPSHOT_READ_ONLY = 2
_FIRST_INODE = 256

_SYSFS = Path("/sys/fs/btrfs")


def enforces_quotas(directory: Path) -> bool:
    """Whether the file system that holds `directory` is btrfs and refuses what is beyond a subvolume's limit."""
    try:
        return (_SYSFS / _identity(directory) / "qgroups" / "enabled").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def enable_quotas(directory: Path) -> None:
    """Count and limit what the subvolumes of this file system hold: by extent (Linux 6.7, costs nothing), or else by reference."""
    with _opened(directory) as descriptor:
        for mode in (_QUOTA_ENABLE_SIMPLE, _QUOTA_ENABLE):
            try:
                fcntl.ioctl(descriptor, _QUOTA_CONTROL, bytearray(struct.pack("=QQ", mode, 0)))
                return
            except OSError as error:
                if mode == _QUOTA_ENABLE or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise


def make_subvolume(parent: Path, name: str) -> Path:
    """A new, empty one, in place of a directory; EEXIST when the name is taken."""
    with _opened(parent) as descriptor:
        fcntl.ioctl(descriptor, _SUBVOLUME_CREATE, bytearray(_VOLUME_ARGUMENTS.pack(0, name.encode())))
    return parent / name


def snapshot_subvolume(subvolume: Path, parent: Path, name: str, *, read_only: bool) -> Path:
    """Another with the same files, sharing every block; EEXIST when the name is taken."""
    with _opened(subvolume) as source, _opened(parent) as descriptor:
        flags = _SNAPSHOT_READ_ONLY if read_only else 0
        fcntl.ioctl(descriptor, _SNAPSHOT_CREATE, bytearray(_SNAPSHOT_ARGUMENTS.pack(source, 0, flags, name.encode())))
    return parent / name


def is_subvolume(directory: Path) -> bool:
    """Whether it is one, of a btrfs."""
    try:
        return os.stat(directory).st_ino == _FIRST_INODE and bool(_identity(directory))
    except OSError:
        return False


def limit_subvolume(subvolume: Path, limit_bytes: int) -> None:
    """What it may hold from now on, its metadata included; a write beyond fails with EDQUOT. Only root of the node can change it."""
    with _opened(subvolume) as descriptor:
        fcntl.ioctl(descriptor, _QGROUP_LIMIT, struct.pack("=QQQQQQ", 0, _LIMIT_REFERENCED, limit_bytes, 0, 0, 0))


def destroy_subvolume(parent: Path, name: str) -> None:
    """Remove it with all it holds, at once; the kernel frees the space in the background. ENOENT when there is none."""
    with _opened(parent) as descriptor:
        fcntl.ioctl(descriptor, _SUBVOLUME_DESTROY, bytearray(_VOLUME_ARGUMENTS.pack(0, name.encode())))


def used_bytes(subvolume: Path) -> int:
    """What it holds and what is promised to data that is still to be written, metadata included. Takes microseconds."""
    group = _group(subvolume)
    return sum(int((group / name).read_text(encoding="ascii")) for name in ("referenced", "rsv_data"))


def quota_directory(directory: Path) -> Path | None:
    """Where the kernel says what this subvolume holds and may hold; None for anything but a subvolume with a quota."""
    try:
        if os.stat(directory).st_ino != _FIRST_INODE:
            return None
        group = _group(directory)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return None
        raise
    return group if group.is_dir() else None


def _group(subvolume: Path) -> Path:
    return _SYSFS / _identity(subvolume) / "qgroups" / f"0_{_number(subvolume)}"


def _identity(directory: Path) -> str:
    answer = bytearray(_FS_INFO_BYTES)
    with _opened(directory) as descriptor:
        fcntl.ioctl(descriptor, _FS_INFO, answer)
    return str(uuid.UUID(bytes=bytes(answer[16:32])))


def _number(subvolume: Path) -> int:
    answer = bytearray(struct.pack("=QQ", 0, _FIRST_INODE) + bytes(_INODE_LOOKUP_BYTES - 16))
    with _opened(subvolume) as descriptor:
        fcntl.ioctl(descriptor, _INODE_LOOKUP, answer)
    return int.from_bytes(answer[:8], "little")


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
