"""A sandbox's directory on the node: what it writes, where its stage is mounted, and the record that lets a later driver adopt it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.driver import CLOSED
from sandbank.runtime.linux import btrfs
from sandbank.runtime.linux.trees import remove_tree
from sandbank.runtime.network.egress.record import encode
from sandbank.runtime.snapshot.store import copy_files

_RECORD = "runtime.json"
_TRASH_PREFIX = ".gone-"
_DATA, _STAGE = "data", "stage"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Record:
    """Names one running sandbox for good: a pid may be another process's tomorrow, a pid with its start time cannot."""

    sandbox_id: str
    execution_id: str
    slot: int
    base_uid: int
    pid: int
    start_time: int
    memory_limit_bytes: int
    disk_limit_bytes: int
    egress: dict[str, Any]
    agent_token: str | None = None
    # What a snapshot needs; sandboxes started by a release that took none have no layers on record.
    layers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    cpu_count: int = 0
    bundle: str = ""
    addresses: tuple[str, ...] = ()  # those that it had in slots before this one
    inherited_bytes: int = 0  # of its files, those whose blocks are counted elsewhere
    env_vars: dict[str, str] = field(default_factory=dict)
    default_user: str = "user"
    default_workdir: str | None = None
    boot_id: str = ""
    group: str = ""  # the name of its cgroup, if not its own: one that was made ahead got its name later
    frozen: str = ""  # the complete snapshot that is the sandbox from now on; what is left of it here is a cache

    @property
    def group_name(self) -> str:
        """Of its cgroup."""
        return self.group or self.sandbox_id


class Homes:
    """All such directories of one node. Where `top` is on btrfs with quotas, what a sandbox writes is a subvolume with a limit."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._is_limited = False

    def prepare(self) -> None:
        """Make the directory that holds them."""
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)

    def limit_from_now_on(self) -> None:
        """Hold every home made from now on to its limit: `top` is on a file system that can."""
        self._is_limited = True

    def create(self, sandbox_id: str, disk_limit_bytes: int, files: Path | None = None) -> Path:
        """A fresh home, or none, with those of a snapshot or without files.

        `FileExistsError` when there is one of that name, `UnavailableError` when the disk is full. With files it may block for long.
        """
        home = self._top / sandbox_id
        with _naming_a_full_disk():
            home.mkdir(mode=0o700)
            self._furnish(home, disk_limit_bytes, files)
        return home

    def rename(self, sandbox_id: str, new_id: str) -> None:
        """Give a home to another name; `FileExistsError` when there is one, `UnavailableError` when the disk is full."""
        with _naming_a_full_disk():
            if (self._top / new_id).exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_id)
            (self._top / sandbox_id).rename(self._top / new_id)

    def data(self, sandbox_id: str) -> Path:
        """Where what a sandbox writes is kept."""
        return self._top / sandbox_id / _DATA

    def _furnish(self, home: Path, disk_limit_bytes: int, files: Path | None) -> None:
        try:
            (home / _STAGE).mkdir(mode=0o755)
            if files is not None:
                copy_files(files, home, read_only=False)
                if self._is_limited:
                    btrfs.limit_subvolume(home / _DATA, disk_limit_bytes)
            elif self._is_limited:
                data = btrfs.make_subvolume(home, _DATA)
                btrfs.limit_subvolume(data, disk_limit_bytes)
                data.chmod(0o755)
            else:
                (home / _DATA).mkdir(mode=0o755)
        except BaseException:
            self.discard(home.name)
            raise

    def write_record(self, record: Record) -> None:
        """Put it beside the home's files in one step; `UnavailableError` when the disk is full."""
        home = self._top / record.sandbox_id
        aside = home / f".{_RECORD}"
        with _naming_a_full_disk():
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)  # it may hold credentials
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(record), file)
            aside.rename(home / _RECORD)

    def records(self) -> list[Record]:
        """Those that can be read; a home without one was never acknowledged."""
        found = []
        for entry in os.scandir(self._top):
            with contextlib.suppress(OSError, ValueError, TypeError):
                document = json.loads(Path(entry.path, _RECORD).read_text(encoding="utf-8"))
                # Records of before policies were kept: cut off is what cannot be wrong.
                document |= {name: tuple(document.get(name, ())) for name in ("layers", "volumes", "addresses")}
                found.append(Record(**{"egress": encode(CLOSED), **document}))
        return found

    def names(self) -> list[str]:
        """Every home, with or without a record."""
        return sorted(entry.name for entry in os.scandir(self._top) if not entry.name.startswith("."))

    def others(self) -> list[Path]:
        """What lies among them that is no home, such as volumes; nothing that is empty."""
        return sorted(
            Path(entry.path)
            for entry in os.scandir(self._top)
            if entry.name.startswith(".")
            and not entry.name.startswith(_TRASH_PREFIX)
            and not (entry.is_dir(follow_symlinks=False) and not os.listdir(entry.path))
        )

    def discard(self, sandbox_id: str) -> None:
        """Take a home out of the way at once; `empty_trash` frees its space. Idempotent."""
        home = self._top / sandbox_id
        try:
            home.rename(self._top / f"{_TRASH_PREFIX}{uuid.uuid4().hex}")
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # A new name takes space, of which there is none; only removing can be done without.
            _remove(home)

    def empty_trash(self) -> None:
        """Remove discarded homes; blocks for as long as that takes, and several may do it at once."""
        for entry in os.scandir(self._top):
            if entry.name.startswith(_TRASH_PREFIX):
                _remove(Path(entry.path))

    def used_bytes(self, sandbox_id: str) -> int:
        """What the sandbox has written; without a limit this blocks, and walks the whole layer."""
        data = self._top / sandbox_id / _DATA
        with contextlib.suppress(OSError):
            return btrfs.used_bytes(data)
        total, pending = 0, [str(data)]
        while pending:  # and no recursion: how deep it is, its tenant chose
            with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        return total


def _remove(home: Path) -> None:
    with contextlib.suppress(OSError):  # an ordinary directory, or gone
        btrfs.destroy_subvolume(home, _DATA)
    remove_tree(home)


@contextlib.contextmanager
def _naming_a_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UnavailableError("the disk of this node's sandboxes is full") from error
        raise
