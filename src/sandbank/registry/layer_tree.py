"""Applying the entries of a layer's archive to `/`, the OCI's way: whiteouts hide what lower layers have, everything else replaces it.

To be used by a process that has nothing else than the image's directory: links may lead anywhere in there, as they will for whoever runs
the image, and there is nowhere else. No entry becomes a device, a pipe or a socket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import tarfile
from collections.abc import Mapping
from typing import IO

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS_PRIVATE = ".wh..wh."
_XATTR = "SCHILY.xattr."
_CAPABILITY = "security.capability"
_CAPABILITY_SIZE = 20  # version 2: without a user namespace of its own
# Those that sandboxes can have (`runtime/linux/privileges.py`): the kernel refuses to run a file that has any other.
CAPABILITIES = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 18, 29, 31})
_HIGHEST_ID = 65535
_DEEPEST = 200  # directories in one another; whoever walks and removes them must be able to
_CHUNK = 1 << 20
_WARNINGS = 10


class EntryError(Exception):
    """An entry that no honest image has, or that cannot be written; the text says which and why."""


class LayerTree:
    """One layer being applied. `finish` must follow the last entry."""

    def __init__(self) -> None:
        self._own: set[str] = set()
        self._times: dict[str, float] = {}
        self._warnings = 0
        self.warnings: list[str] = []

    def apply(self, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        """`EntryError` for what is refused."""
        parts = _parts(entry.name, entry.name)
        try:
            if not parts:
                if entry.isdir():
                    self._settle("/", entry)
                return
            if parts[-1] != _OPAQUE and any(part.startswith(_AUFS_PRIVATE) for part in parts):
                return
            parent, name = self._parent(parts[:-1], entry), parts[-1]
            if name.startswith(_WHITEOUT):
                self._whiteout(parent, name, entry)
                return
            self._put(_join(parent, name), entry, content)
        except OSError as error:
            raise EntryError(f"{_shown(entry.name)} cannot be written: {error.strerror or error}") from error
        except ValueError as error:
            raise EntryError(f"{_shown(entry.name)} cannot be written: {error}") from error

    def finish(self) -> None:
        """Give directories their times, which filling them has changed."""
        for path, seconds in self._times.items():
            with contextlib.suppress(OSError):
                os.utime(path, (seconds, seconds), follow_symlinks=False)
        if self._warnings > _WARNINGS:
            self.warnings.append(f"and {self._warnings - _WARNINGS} more entries like these")

    def _put(self, path: str, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        _check_owner(entry)
        if entry.isdir():
            if not _is_directory(path):
                _remove(path)
                os.mkdir(path, 0o700)
            self._note(path)
            self._settle(path, entry)
        elif entry.islnk():
            self._link(path, entry)
        elif entry.issym():
            _remove(path)
            os.symlink(entry.linkname, path)
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
            self._note(path)
        elif entry.isreg():
            assert content is not None
            _remove(path)
            self._write(path, entry, content)
            self._note(path)
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            self._warn(f"{_shown(entry.name)} was left out: images have no devices or pipes here")
        else:
            self._warn(f"{_shown(entry.name)} was left out: entries of its kind mean nothing here")

    def _write(self, path: str, entry: tarfile.TarInfo, content: IO[bytes]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            if file.tell() != entry.size:
                raise EntryError(f"{_shown(entry.name)} ends early")
            file.flush()
            self._settle(path, entry)

    def _link(self, path: str, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.linkname, entry.name)
        if not parts:
            raise EntryError(f"{_shown(entry.name)} is a link to the root")
        source = _join(self._parent(parts[:-1], entry), parts[-1])
        status = os.lstat(source)
        if stat.S_ISDIR(status.st_mode):
            raise EntryError(f"{_shown(entry.name)} is a hard link to a directory")
        self._note(path)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(path), status):
                return
        _remove(path)
        os.link(source, path, follow_symlinks=False)

    def _settle(self, path: str, entry: tarfile.TarInfo) -> None:
        """Owner before mode, which changing the owner takes bits from, and before capabilities, which it removes."""
        _check_owner(entry)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(path, stat.S_IMODE(entry.mode))
        for name, value in _attributes(entry.pax_headers).items():
            try:
                os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as error:
                self._warn(f"{_shown(entry.name)} has lost its attribute {name}: {error.strerror}")
        seconds = float(min(max(entry.mtime, 0), 2**33))
        if stat.S_ISDIR(os.lstat(path).st_mode):
            self._times[path] = seconds
        else:
            os.utime(path, (seconds, seconds), follow_symlinks=False)

    def _whiteout(self, parent: str, name: str, entry: tarfile.TarInfo) -> None:
        if name == _OPAQUE:
            self._clear(parent)
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise EntryError(f"{_shown(entry.name)} hides nothing that can be hidden")
        if _join(parent, hidden) not in self._own:
            _remove(_join(parent, hidden))

    def _clear(self, directory: str) -> None:
        """Remove what lower layers have in there."""
        for name in os.listdir(directory):
            path = _join(directory, name)
            if path not in self._own:
                _remove(path)
            elif _is_directory(path):
                self._clear(path)

    def _note(self, path: str) -> None:
        """It and the directories that it is in are (also) this layer's."""
        while path not in self._own:
            self._own.add(path)
            path = os.path.dirname(path)

    def _parent(self, parts: list[str], entry: tarfile.TarInfo) -> str:
        """The directory of that name, after its links; what is missing of it is made."""
        path = os.path.realpath("/" + "/".join(parts))
        if path.count("/") > _DEEPEST:
            raise EntryError(f"{_shown(entry.name)} is more than {_DEEPEST} directories deep")
        if not _is_directory(path):
            os.makedirs(path, 0o755)
        return path

    def _warn(self, text: str) -> None:
        self._warnings += 1
        if self._warnings <= _WARNINGS:
            self.warnings.append(text)


def _parts(name: str, shown: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise EntryError(f"{_shown(shown)} has '..' in it")
    return parts


def _check_owner(entry: tarfile.TarInfo) -> None:
    for kind, number in (("user", entry.uid), ("group", entry.gid)):
        if not 0 <= number <= _HIGHEST_ID:
            raise EntryError(f"{_shown(entry.name)} belongs to {kind} {number}, and sandboxes have none above {_HIGHEST_ID}")


def _attributes(headers: Mapping[str, str]) -> dict[str, bytes]:
    """What means something in a sandbox: not the node's (`trusted.*`), nor overlayfs's (`user.overlay.*`), which would mislead it."""
    found: dict[str, bytes] = {}
    for key, text in headers.items():
        name = key.removeprefix(_XATTR) if key.startswith(_XATTR) else ""
        value = text.encode("utf-8", "surrogateescape")
        is_users = name.startswith("user.") and not name.startswith("user.overlay.")
        if is_users or (name == _CAPABILITY and _is_possible(value)):
            found[name] = value
    return found


def _is_possible(capability: bytes) -> bool:
    if len(capability) != _CAPABILITY_SIZE:
        return False
    _, low, _, high, _ = struct.unpack("<5I", capability)
    return not (low | high << 32) & ~sum(1 << number for number in CAPABILITIES)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _join(parent: str, name: str) -> str:
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


def _shown(name: str) -> str:
    return repr(name[:120])
