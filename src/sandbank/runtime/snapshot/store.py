"""Snapshots on this node's disk: a sandbox's files and, beside them, its memory; complete or absent.

`<top>/<snapshot id>/` has `data` (what the sandbox had written, a read-only subvolume where the file system has such), `memory` (CRIU's
images) and `snapshot.json`. A directory of that name is complete: it got it when everything in it was on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbank.artifacts.shared_parts import BUNDLES
from sandbank.domain.errors import InternalError, InvalidError
from sandbank.runtime.linux import btrfs
from sandbank.runtime.linux.trees import remove_tree

FORMAT_VERSION = 2
DIRECTORY = ".snapshots"  # below the homes, with whose files it shares blocks
_DATA, _MEMORY, _FACTS = "data", "memory", "snapshot.json"
_ASIDE, _TRASH = ".making-", ".gone-"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What has to be known to bring it back. Bytes; `layers` and `volumes` are the node's paths, lowest layer first.

    `mounts` are CRIU's keys of what comes from the stage; `files` say for each of CRIU's keys which file below the node's data directory it
    was: of the agent bundle `bundle`, or what the zygote had in memory. `used_bytes` count towards the disk limit of whoever continues.
    """

    snapshot_id: str
    sandbox_id: str
    base_uid: int
    address: str
    bundle: str
    layers: tuple[str, ...]
    volumes: tuple[str, ...]
    mounts: tuple[str, ...]
    files: dict[str, str]
    memory_limit_bytes: int
    disk_limit_bytes: int
    used_bytes: int
    cpu_count: int
    agent_token: str | None
    addresses: tuple[str, ...] = field(default=())
    # What a cold boot tells the agent, since no memory knows it then.
    env_vars: dict[str, str] = field(default_factory=dict)
    default_user: str = "user"
    default_workdir: str | None = None
    boot_id: str = ""
    has_memory: bool = True
    cpu: tuple[str, ...] = ()  # what the processor can do that its memory was made on; unknown of older ones


class SnapshotStore:
    """All snapshots of one node. Methods block; errors are `OSError` unless said otherwise."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def begin(self, snapshot_id: str) -> Path:
        """A directory for CRIU's images, of a snapshot to be; one of that name is removed. `InvalidError` for a bad name."""
        if _SAFE_NAME.fullmatch(snapshot_id) is None:
            raise InvalidError(f"Invalid build ID: {snapshot_id!r}")
        self._top.mkdir(exist_ok=True, mode=0o700)
        aside = self._aside(snapshot_id)
        _remove(aside)
        self.remove(snapshot_id)  # of an attempt that nobody was told of: what runs is what counts
        memory = aside / _MEMORY
        memory.mkdir(parents=True, mode=0o700)
        return memory

    def take_files(self, snapshot_id: str, data: Path) -> None:
        """Keep what a sandbox has written, while it is frozen: at the cost of a name where the file system can share, or else a copy."""
        copy_files(data, self._aside(snapshot_id), read_only=True)

    def publish(self, facts: SnapshotFacts) -> None:
        """Make it findable: on disk, whole, when this returns."""
        aside = self._aside(facts.snapshot_id)
        for entry in os.scandir(aside / _MEMORY):
            os.chmod(entry.path, 0o644)  # the directories above are closed; who is given a link to it shall read it
        document = {"format_version": FORMAT_VERSION, **asdict(facts)}
        (aside / _FACTS).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
        _sync(aside)
        aside.rename(self._top / facts.snapshot_id)
        _sync(self._top)

    def abandon(self, snapshot_id: str) -> None:
        """Remove one that was begun and not published. Idempotent."""
        _remove(self._aside(snapshot_id))

    def find(self, snapshot_id: str) -> SnapshotFacts | None:
        """None when there is none of that name; `InternalError` when it is damaged."""
        if _SAFE_NAME.fullmatch(snapshot_id) is None:
            return None
        try:
            document = json.loads((self._top / snapshot_id / _FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InternalError(f"the snapshot {snapshot_id} is damaged: {error}") from error
        try:
            version = document.pop("format_version")
            if version == 1:  # paths below the bundle
                document["files"] = {key: f"{BUNDLES}/{document['bundle']}/{path}" for key, path in document["files"].items()}
            elif version != FORMAT_VERSION:
                raise ValueError("its format is of another version")
            lists = {name: tuple(document.get(name, ())) for name in ("layers", "volumes", "mounts", "addresses", "cpu")}
            return SnapshotFacts(**{**document, **lists})
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(f"the snapshot {snapshot_id} cannot be read: {error}") from error

    def data(self, snapshot_id: str) -> Path:
        """The files of one."""
        return self._top / snapshot_id / _DATA

    def memory(self, snapshot_id: str) -> Path:
        """The images of one."""
        return self._top / snapshot_id / _MEMORY

    def names(self) -> list[str]:
        """All that are complete."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(self._top) if not entry.name.startswith("."))
        return []

    def remove(self, snapshot_id: str) -> None:
        """Idempotent; blocks for as long as its removal takes."""
        if _SAFE_NAME.fullmatch(snapshot_id) is None:
            return
        gone = self._top / f"{_TRASH}{uuid.uuid4().hex}"
        try:
            (self._top / snapshot_id).rename(gone)
        except FileNotFoundError:
            return
        _remove(gone)

    def writers(self) -> list[int]:
        """CRIUs that still write here, for a process that is no more: what they have frozen goes on or ends when they are done."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if b"\0swrk\0" in Path(f"/proc/{name}/cmdline").read_bytes() and self._is_open_in(name):
                    found.append(int(name))
        return found

    def _is_open_in(self, pid: str) -> bool:
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(descriptor.path).startswith(f"{self._top}/{_ASIDE}"):
                    return True
        return False

    def sweep(self) -> None:
        """Remove what was begun or given up by a process that is no more."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._top):
                if entry.name.startswith((_ASIDE, _TRASH)):
                    _remove(Path(entry.path))

    def _aside(self, snapshot_id: str) -> Path:
        return self._top / f"{_ASIDE}{snapshot_id}"


def copy_files(data: Path, parent: Path, *, read_only: bool) -> None:
    """Put what `data` holds into `parent`, under the same name, as a subvolume sharing its blocks or else as a copy."""
    if btrfs.is_subvolume(data):
        btrfs.snapshot_subvolume(data, parent, data.name, read_only=read_only)
        return
    made = subprocess.run(
        ["cp", "--archive", "--reflink=auto", "--sparse=always", str(data), f"{parent}/"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise OSError(f"the files could not be copied: {made.stderr.strip().splitlines()[-1] if made.stderr else made.returncode}")


def _sync(directory: Path) -> None:
    """Everything that its file system has not written yet: one call instead of one for each file."""
    subprocess.run(["sync", "--file-system", str(directory)], check=True, capture_output=True)


def _remove(directory: Path) -> None:
    if directory.exists():
        with contextlib.suppress(OSError):  # an ordinary directory, or none
            btrfs.destroy_subvolume(directory, _DATA)
        remove_tree(directory)
