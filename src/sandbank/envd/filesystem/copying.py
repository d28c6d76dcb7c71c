"""Copying a tree with everything that belongs to it: the fallback where a rename crosses filesystems or overlay layers."""

from __future__ import annotations

import errno
import os
import secrets
import stat

from sandbank.envd.filesystem.removal import remove_tree
from sandbank.envd.filesystem.slices import Slicer

_PIECE_BYTES = 1024 * 1024
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL})


class TreeCopy:
    """One copy in progress; hard links inside the tree stay links among the copies."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], str] = {}
        self._slicer = Slicer()

    async def copy(self, source: str, destination: str) -> None:
        """Copy `source` to `destination`, which must not exist. Raises `OSError` and leaves what it made so far."""
        directories: list[tuple[str, str, os.stat_result]] = []
        pending = [(source, destination)]
        while pending:
            origin, copy = pending.pop()
            await self._slicer.step()
            status = os.lstat(origin)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(copy, 0o700)
                directories.append((origin, copy, status))
                pending.extend((f"{origin}/{name}", f"{copy}/{name}") for name in os.listdir(origin))
            else:
                await self._copy_leaf(origin, copy, status)
        for origin, copy, status in reversed(directories):  # last, because filling a directory changes its times
            _preserve(origin, copy, status)

    async def _copy_leaf(self, origin: str, copy: str, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and identity in self._links:
            os.link(self._links[identity], copy, follow_symlinks=False)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(origin), copy)
        elif stat.S_ISREG(status.st_mode):
            await self._copy_content(origin, copy)
        else:
            os.mknod(copy, status.st_mode, status.st_rdev)
        _preserve(origin, copy, status)
        self._links[identity] = copy

    async def _copy_content(self, origin: str, copy: str) -> None:
        pieces = Slicer(steps=8)
        reader = os.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            writer = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                while os.sendfile(writer, reader, None, _PIECE_BYTES):  # None: at the file's own offset
                    await pieces.step()
            finally:
                os.close(writer)
        finally:
            os.close(reader)


def _preserve(origin: str, copy: str, status: os.stat_result) -> None:
    """Owner, attributes, mode, times: in this order, because a change of owner clears special mode bits."""
    os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
    try:
        for name in os.listxattr(origin, follow_symlinks=False):
            os.setxattr(copy, name, os.getxattr(origin, name, follow_symlinks=False), follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(copy, stat.S_IMODE(status.st_mode))
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


async def move_by_copy(source: str, destination: str) -> None:
    """Move where the kernel cannot: copy beside the destination, rename into place, then remove the source.

    The destination is complete or unchanged at every moment. Cancelled or failed, a partial copy is removed and the source is whole;
    only a failure of the final removal leaves both. Raises `OSError`.
    """
    _check_replaceable(source, destination)
    parent, _, name = destination.rstrip("/").rpartition("/")
    temporary = f"{parent}/.{name[:200]}.{secrets.token_hex(4)}.moving"
    try:
        await TreeCopy().copy(source, temporary)
        os.rename(temporary, destination)
    except BaseException:
        await remove_tree(temporary)
        raise
    await remove_tree(source)


def _check_replaceable(source: str, destination: str) -> None:
    """Fail before the copy in the cases where the last rename would fail."""
    try:
        target = os.lstat(destination)
    except FileNotFoundError:
        return
    onto_directory, from_directory = stat.S_ISDIR(target.st_mode), stat.S_ISDIR(os.lstat(source).st_mode)
    number = 0
    if onto_directory and not from_directory:
        number = errno.EISDIR
    elif from_directory and not onto_directory:
        number = errno.ENOTDIR
    elif onto_directory and os.listdir(destination):
        number = errno.ENOTEMPTY
    if number:
        raise OSError(number, os.strerror(number), destination)
