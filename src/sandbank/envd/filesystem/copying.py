"""Copying a tree with everything that belongs to it: the fallback where a rename crosses filesystems or overlay layers."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from sandbank.envd.filesystem.removal import remove_tree
from sandbank.envd.offload import in_turns

_PIECE_BYTES = 4 * 1024 * 1024
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL})


class TreeCopy:
    """One copy in progress; hard links inside the tree stay links among the copies, and holes in files stay holes."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], str] = {}

    def steps(self, source: str, destination: str) -> Iterator[None]:
        """Copy `source` to `destination`, which must not exist, a piece at a time. Raises `OSError` and leaves what it made so far.

        What is mounted inside the tree is not part of it: EBUSY.
        """
        device = os.lstat(source).st_dev
        directories: list[tuple[str, str, os.stat_result]] = []
        pending = [(source, destination)]
        while pending:
            origin, copy = pending.pop()
            yield
            status = os.lstat(origin)
            if stat.S_ISDIR(status.st_mode):
                if status.st_dev != device:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), origin)
                os.mkdir(copy, 0o700)
                directories.append((origin, copy, status))
                pending.extend((f"{origin}/{name}", f"{copy}/{name}") for name in os.listdir(origin))
            else:
                yield from self._copy_leaf(origin, copy, status)
        for origin, copy, status in reversed(directories):  # last, because filling a directory changes its times
            yield
            _preserve(origin, copy, status)

    def _copy_leaf(self, origin: str, copy: str, status: os.stat_result) -> Iterator[None]:
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and identity in self._links:
            os.link(self._links[identity], copy, follow_symlinks=False)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(origin), copy)
        elif stat.S_ISREG(status.st_mode):
            yield from _copy_content(origin, copy)
        else:
            os.mknod(copy, status.st_mode, status.st_rdev)
        _preserve(origin, copy, status)
        if status.st_nlink > 1:
            self._links[identity] = copy


def _copy_content(origin: str, copy: str) -> Iterator[None]:
    with contextlib.ExitStack() as opened:
        reader = os.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        opened.callback(os.close, reader)
        writer = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        opened.callback(os.close, writer)
        end = 0
        while (found := _next_data(reader, end)) is not None:
            offset, end = found
            os.lseek(writer, offset, os.SEEK_SET)
            while offset < end and (count := os.sendfile(writer, reader, offset, min(_PIECE_BYTES, end - offset))):
                offset += count
                yield
        os.ftruncate(writer, os.fstat(reader).st_size)


def _next_data(descriptor: int, offset: int) -> tuple[int, int] | None:
    """Where content that is no hole begins and ends; None after the last."""
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
        return start, os.lseek(descriptor, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


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
    _check_outside(source, parent or "/")
    temporary = f"{parent}/.{os.fsdecode(os.fsencode(name)[:200])}.{secrets.token_hex(4)}.moving"
    try:
        await in_turns(TreeCopy().steps(source, temporary))
        os.rename(temporary, destination)
    except BaseException:
        await remove_tree(temporary)
        raise
    await remove_tree(source)


def _check_outside(source: str, parent: str) -> None:
    """A tree cannot be moved into itself (EINVAL), which a copy would do for ever; nor can a mount point be moved (EBUSY)."""
    if not stat.S_ISDIR(os.lstat(source).st_mode):
        return
    if os.path.ismount(source):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), source)
    top, current = os.path.realpath(source), os.path.realpath(parent)
    if current == top or current.startswith(top.rstrip("/") + "/"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), source)


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
