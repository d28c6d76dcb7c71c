"""Layers: directories of root-owned, unshifted files, named once and never written to again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbank.artifacts.atomic import sync_directory
from sandbank.domain.errors import InternalError


class LayerStore:
    """The layers under one artefact directory. One process at a time makes layers: whoever holds the installation's lock."""

    def __init__(self, root: Path) -> None:
        self._layers = root / "layers"
        self._staging = root / "staging"
        self._sizes = root / "sizes"

    def find(self, layer_id: str) -> Path | None:
        """The layer's directory, or `None` while it has not been made."""
        path = self._layers / layer_id
        return path if path.is_dir() else None

    def size_mib(self, layer_id: str) -> int:
        """What a layer occupies on disk, rounded up; measured once. Blocks."""
        noted = self._sizes / layer_id
        with contextlib.suppress(OSError, ValueError):
            return int(noted.read_text(encoding="ascii"))
        size = _measured_mib(self._layers / layer_id)
        self._sizes.mkdir(parents=True, exist_ok=True, mode=0o700)
        noted.write_text(str(size), encoding="ascii")
        return size

    @contextmanager
    def make(self, layer_id: str) -> Iterator[Path]:
        """An empty directory that becomes the layer when the block ends well, and vanishes when it does not.

        The files are on disk before the name is. What an earlier attempt left behind, killed in the middle, is removed first.
        """
        for directory in (self._layers, self._staging):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._staging / layer_id
        _remove(aside)
        aside.mkdir(mode=0o755)
        try:
            yield aside
            # One syncfs instead of an fsync per file: 20,000 of them would take longer than the bootstrap.
            subprocess.run(["sync", "--file-system", str(aside)], check=True)
            aside.rename(self._layers / layer_id)
        except BaseException:
            _remove(aside)
            raise
        sync_directory(self._layers)


def _measured_mib(directory: Path) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1M", f"{directory}/."], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def _remove(path: Path) -> None:
    if not path.exists():
        return
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [mount for mount in mounts if Path(mount).is_relative_to(path)]:
        raise InternalError(f"{path} is left from an interrupted build and cannot be removed while {inside[0]} is mounted")
    shutil.rmtree(path)
