"""Mounting, old and new style, as a sandbox's root needs it. Every failure names the step."""

from __future__ import annotations

import ctypes
import os

from sandbank.runtime.linux.libc import check, libc

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2

# The new mount calls and pivot_root: the former have one number on every architecture, the latter does not.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]

_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 0x1, 0x80000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_IDMAP = 0x100000


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    check(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {kind or source} on {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    check(libc.umount2(target.encode(), flags), f"unmount {target}")


def make_private() -> None:
    """Cut this mount namespace off from its origin: nothing mounted here shows there."""
    mount(None, "/", None, MS_PRIVATE | MS_REC)


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Show `source` at `target` as well."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))


def bind_readonly(source: str, target: str, flags: int = MS_NOSUID | MS_NODEV | MS_NOEXEC) -> None:
    """Show `source` at `target`, unchangeable through it."""
    bind(source, target)
    mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def bind_idmapped(source: str, target: str, userns_fd: int) -> None:
    """Show `source` at `target` so that uid 0 on disk is root of the user namespace, whatever host uids that has.

    Needs Linux 5.12, and 5.19 for layers of an overlay; the caller is root in the namespace that owns the filesystem.
    """
    tree = check(
        libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, source.encode(), ctypes.c_uint(_OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)),
        f"open_tree {source}",
    )
    try:
        attributes = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, userns_fd)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        check(libc.syscall(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size), f"idmap {source}")
        check(
            libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH), f"attach {source} to {target}"
        )
    finally:
        os.close(tree)


def pivot_into(root: str) -> None:
    """Make `root` the root of this mount namespace and let go of the old one entirely."""
    # pivot_root refuses a mount that the user namespace has locked; a bind of it onto itself is not locked.
    bind(root, root, recursive=True)
    os.chdir(root)
    check(libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")
