"""A sandbox's directory on the node: what it writes, where its stage is mounted, and the record that lets a later driver adopt it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

_RECORD = "runtime.json"
_TRASH_PREFIX = ".gone-"


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


class Homes:
    """All such directories of one node."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def prepare(self) -> None:
        """Make the directory that holds them."""
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, sandbox_id: str) -> Path:
        """A fresh home; `FileExistsError` when there is one of that name."""
        home = self._top / sandbox_id
        home.mkdir(mode=0o700)
        (home / "data").mkdir(mode=0o755)
        (home / "stage").mkdir(mode=0o755)
        return home

    def write_record(self, record: Record) -> None:
        """Put it beside the home's files in one step."""
        home = self._top / record.sandbox_id
        aside = home / f".{_RECORD}"
        aside.write_text(json.dumps(asdict(record)), encoding="utf-8")
        aside.rename(home / _RECORD)

    def records(self) -> list[Record]:
        """Those that can be read; a home without one was never acknowledged."""
        found = []
        for entry in os.scandir(self._top):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(Record(**json.loads(Path(entry.path, _RECORD).read_text(encoding="utf-8"))))
        return found

    def names(self) -> list[str]:
        """Every home, with or without a record."""
        return sorted(entry.name for entry in os.scandir(self._top) if not entry.name.startswith("."))

    def discard(self, sandbox_id: str) -> None:
        """Take a home out of the way at once; `empty_trash` frees its space. Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            (self._top / sandbox_id).rename(self._top / f"{_TRASH_PREFIX}{uuid.uuid4().hex}")

    def empty_trash(self) -> None:
        """Remove discarded homes; blocks for as long as that takes, and several may do it at once."""
        for entry in os.scandir(self._top):
            if entry.name.startswith(_TRASH_PREFIX):
                shutil.rmtree(entry.path, ignore_errors=True)

    def used_bytes(self, sandbox_id: str) -> int:
        """What the sandbox has written, by blocks; blocks, and walks the whole layer."""
        total = 0
        for directory, _, files in os.walk(self._top / sandbox_id / "data"):
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(directory, name)).st_blocks * 512
        return total
