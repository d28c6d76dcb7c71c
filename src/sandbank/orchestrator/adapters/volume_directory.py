"""The volumes of a node as directories. The kernel walks paths inside the volume: no link that a sandbox plants leads out."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sandbank.domain.errors import (
    ConflictError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.orchestrator.adapters.volume_listing import ASIDE, Listing, describe
from sandbank.orchestrator.core import volumes
from sandbank.orchestrator.core.volumes import Ownership, VolumeEntry
from sandbank.runtime.linux import btrfs
from sandbank.runtime.linux.paths import make_directories, open_in
from sandbank.runtime.linux.trees import remove_tree

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_PATH_BYTES = 4096
_REMOVAL_SECONDS = 50.0  # somewhat less than callers wait
_MAX_ID = 65_534  # what a sandbox's user namespace has, without nobody
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class VolumeDirectory:
    """Implements `sandbank.orchestrator.core.volumes.VolumeFiles` below `top`; `limit_mib` holds where the file system has quotas."""

    def __init__(self, top: Path, limit_mib: int) -> None:
        self._top = top
        self._limit_bytes = limit_mib << 20

    def path_of(self, volume_id: str) -> Path:
        """The volume's directory; `NotFoundError` where there is none."""
        if _ID.fullmatch(volume_id) is None:
            raise InvalidError("Invalid volume ID", error_code=volumes.INVALID_REQUEST)
        path = self._top / volume_id
        if not path.is_dir():
            raise NotFoundError("Volume not found", error_code=volumes.PATH_NOT_FOUND)
        return path

    def create(self, volume_id: str) -> None:
        """Make an empty one, for everybody inside to write to. One that is there is no error."""
        if _ID.fullmatch(volume_id) is None:
            raise InvalidError("Invalid volume ID", error_code=volumes.INVALID_REQUEST)
        with _translated("/"):
            self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (self._top / volume_id).is_dir():
                return
            if btrfs.enforces_quotas(self._top):
                path = btrfs.make_subvolume(self._top, volume_id)
                btrfs.limit_subvolume(path, self._limit_bytes)
            else:
                path = self._top / volume_id
                path.mkdir()
            path.chmod(volumes.DIRECTORY_MODE)

    def delete(self, volume_id: str) -> None:
        """Remove it with all it holds; sandboxes that have it mounted see an empty directory. One that is not there is no error."""
        try:
            path = self.path_of(volume_id)
        except NotFoundError:
            return
        with _translated("/"):
            try:
                btrfs.destroy_subvolume(self._top, volume_id)
            except OSError:
                # No subvolume, or one that is mounted somewhere: then file by file.
                remove_tree(path, _REMOVAL_SECONDS)
                if path.exists():
                    raise OSError(errno.EBUSY, "something writes to it") from None

    def stat(self, volume_id: str, path: str) -> VolumeEntry:
        """See `VolumeFiles`; a link is described, not followed."""
        with self._parent(volume_id, path) as (parent, name, whole):
            return describe(whole, parent, name)

    def list(self, volume_id: str, path: str, depth: int) -> list[VolumeEntry]:
        """See `VolumeFiles`: everything below, parents before their children."""
        depth = volumes.checked_depth(depth)
        clean = _clean(path)
        with self._root(volume_id) as root, _translated(path):
            top = open_in(root, clean, os.O_RDONLY | os.O_DIRECTORY)
            try:
                listing = Listing()
                listing.collect(top, clean.rstrip("/"), depth)
                return listing.entries
            finally:
                os.close(top)

    def make_directory(self, volume_id: str, path: str, ownership: Ownership, *, parents: bool) -> VolumeEntry:
        """See `VolumeFiles`; with `parents` one that is there already is no error."""
        if _clean(path) == "/":
            if parents:
                return self.stat(volume_id, "/")
            raise volumes.already_exists(path)
        with self._parent(volume_id, path, make=parents, ownership=ownership) as (parent, name, whole):
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                if not parents or not modes.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    raise
                return describe(whole, parent, name)
            _own(parent, name, ownership, volumes.DIRECTORY_MODE)
            return describe(whole, parent, name)

    def change(self, volume_id: str, path: str, ownership: Ownership) -> VolumeEntry:
        """See `VolumeFiles`; a link's own owner, and never what it leads to."""
        _check(ownership)
        with self._parent(volume_id, path) as (parent, name, whole):
            if ownership.uid is not None or ownership.gid is not None:
                os.chown(name, _or_same(ownership.uid), _or_same(ownership.gid), dir_fd=parent, follow_symlinks=False)
            if ownership.mode is not None:
                _set_mode(parent, name, ownership.mode)
            return describe(whole, parent, name)

    def remove(self, volume_id: str, path: str) -> None:
        """See `VolumeFiles`; a directory with all it holds, a link alone."""
        if _clean(path) == "/":
            raise InvalidError("the root of a volume cannot be deleted", error_code=volumes.CANNOT_DELETE_ROOT)
        with self._parent(volume_id, path) as (parent, name, _):
            if not modes.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
                return
            # Aside first: nothing that is in the middle of being removed keeps its name.
            aside = f"{ASIDE}{secrets.token_hex(8)}"
            os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=parent)
            remove_tree(Path(f"/proc/self/fd/{parent}/{aside}"), _REMOVAL_SECONDS)
            with contextlib.suppress(FileNotFoundError):
                os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
                raise OSError(errno.EBUSY, "something writes to it")

    def open(self, volume_id: str, path: str) -> BinaryIO:
        """See `VolumeFiles`; links inside the volume are followed, and only regular files are read."""
        with self._root(volume_id) as root, _translated(path):
            descriptor = open_in(root, _clean(path), os.O_RDONLY | os.O_NONBLOCK)
            if not modes.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise volumes.invalid(f"path '{path}' is not a file")
            return os.fdopen(descriptor, "rb", buffering=0)

    def begin_write(self, volume_id: str, path: str, ownership: Ownership, *, force: bool) -> PendingUpload:
        """See `VolumeFiles`; with `force` parents are made and a file of that name is replaced."""
        _check(ownership)
        if _clean(path) == "/" or path.endswith("/"):
            raise volumes.invalid(f"path '{path}' is not a file")
        with self._parent(volume_id, path, make=force, ownership=Ownership(uid=ownership.uid, gid=ownership.gid)) as (parent, name, whole):
            with contextlib.suppress(FileNotFoundError):
                present = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if modes.S_ISDIR(present.st_mode):
                    raise volumes.invalid(f"path '{path}' is a directory")
                if not force:
                    raise volumes.already_exists(path)
            return PendingUpload(os.dup(parent), name, whole, ownership, force=force)

    @contextmanager
    def _root(self, volume_id: str) -> Iterator[int]:
        descriptor = os.open(self.path_of(volume_id), _DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _parent(
        self, volume_id: str, path: str, *, make: bool = False, ownership: Ownership | None = None
    ) -> Iterator[tuple[int, str, str]]:
        """The directory that `path` is in, its name there, and the whole path; for the root, the root and `.`."""
        clean = _clean(path)
        directory, _, name = clean.rpartition("/")
        with self._root(volume_id) as root, _translated(path):
            if make and directory:
                _make_parents(root, directory, ownership or Ownership())
            parent = open_in(root, directory or "/", _DIRECTORY)
            try:
                yield parent, name or ".", clean
            finally:
                os.close(parent)


class PendingUpload:
    """Implements `sandbank.orchestrator.core.volumes.PendingFile`: a file beside the one it will be."""

    def __init__(self, parent: int, name: str, path: str, ownership: Ownership, *, force: bool) -> None:
        self._parent = parent
        self._name = name
        self._path = path
        self._ownership = ownership
        self._force = force
        self._aside = f"{ASIDE}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with _translated(path):
                self._file = os.fdopen(os.open(self._aside, flags, 0o600, dir_fd=parent), "wb", buffering=0)
        except BaseException:
            os.close(parent)
            raise
        self._is_open = True

    def write(self, data: bytes) -> None:
        """See `PendingFile`."""
        with _translated(self._path):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def commit(self) -> VolumeEntry:
        """See `PendingFile`; on disk when it returns."""
        try:
            with _translated(self._path):
                _own(self._parent, self._aside, self._ownership, volumes.FILE_MODE)
                os.fsync(self._file.fileno())
                if self._force:
                    os.rename(self._aside, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
                else:
                    os.link(self._aside, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent, follow_symlinks=False)
                return describe(self._path, self._parent, self._name)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """See `PendingFile`."""
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(OSError):
                os.unlink(self._aside, dir_fd=self._parent)
            self._file.close()
            os.close(self._parent)


def _clean(path: str) -> str:
    encoded = os.fsencode(path)
    if b"\0" in encoded or len(encoded) > _MAX_PATH_BYTES:
        raise volumes.invalid("path must have no NUL and at most 4096 bytes")
    return os.path.normpath("/" + path.lstrip("/"))


def _check(ownership: Ownership) -> None:
    for name, value in (("uid", ownership.uid), ("gid", ownership.gid)):
        if value is not None and value > _MAX_ID:
            raise volumes.invalid(f"{name} must be at most {_MAX_ID}")
    if ownership.mode is not None and ownership.mode > 0o7777:
        raise volumes.invalid("mode must be permission bits")


def _make_parents(root: int, directory: str, ownership: Ownership) -> None:
    walked = ""
    for name in directory.strip("/").split("/"):
        parent, walked = walked or "/", f"{walked}/{name}"
        try:
            os.close(open_in(root, walked, _DIRECTORY))
        except FileNotFoundError:
            made = make_directories(root, walked, 0o700)
            os.close(made)
            above = open_in(root, parent, _DIRECTORY)
            try:
                _own(above, name, Ownership(uid=ownership.uid, gid=ownership.gid), volumes.DIRECTORY_MODE)
            finally:
                os.close(above)


def _own(parent: int, name: str, ownership: Ownership, mode: int) -> None:
    _check(ownership)
    uid = volumes.DEFAULT_OWNER if ownership.uid is None else ownership.uid
    gid = volumes.DEFAULT_OWNER if ownership.gid is None else ownership.gid
    os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    _set_mode(parent, name, mode if ownership.mode is None else ownership.mode)


def _set_mode(parent: int, name: str, mode: int) -> None:
    # By descriptor: a sandbox may put a link in the name's place at any moment.
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if modes.S_ISLNK(os.fstat(descriptor).st_mode):
            return  # links have no mode of their own
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def _or_same(value: int | None) -> int:
    return -1 if value is None else value


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except SandbankError:
        raise
    except OSError as error:
        raise _meaning(path, error) from error


def _meaning(path: str, error: OSError) -> SandbankError:
    match error.errno:
        case errno.ENOENT:
            return volumes.not_found(path)
        case errno.EEXIST:
            return volumes.already_exists(path)
        case errno.ENOTDIR | errno.EISDIR | errno.ELOOP | errno.ENAMETOOLONG | errno.EINVAL | errno.EXDEV | errno.ENXIO:
            return volumes.invalid(f"path '{path}': {os.strerror(error.errno)}")
        case errno.ENOTEMPTY:
            return ConflictError(f"path '{path}' is not empty", error_code=volumes.PATH_ALREADY_EXISTS)
        case errno.ENOSPC | errno.EDQUOT:
            return ExhaustedError("the volume is full", error_code=volumes.NOT_SUPPORTED, should_retry=False)
        case errno.EBUSY | errno.EMFILE | errno.ENFILE | errno.ENOMEM:
            return UnavailableError("the volume is busy", error_code=volumes.NOT_SUPPORTED)
        case _:
            return InternalError(f"path '{path}': {os.strerror(error.errno or 0)}", error_code=volumes.NOT_SUPPORTED)
