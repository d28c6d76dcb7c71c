"""Layers that sandboxes have written: subvolumes beside the homes, whose blocks they share, known by a link among the other layers."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from sandbank.artifacts.shared_parts import LAYERS, SharedParts
from sandbank.domain.errors import InvalidError
from sandbank.runtime.linux import btrfs
from sandbank.runtime.linux.trees import remove_tree
from sandbank.runtime.snapshot.store import copy_files

DIRECTORY = ".layers"  # below the homes
_DATA, _UPPER = "data", "upper"
_ASIDE = ".making-"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class SavedLayers:
    """Those of one node. Methods block; errors are `OSError` unless said otherwise."""

    def __init__(self, data_dir: Path) -> None:
        self._top = data_dir / "sandboxes" / DIRECTORY
        self._links = SharedParts(data_dir).place_of(f"{LAYERS}/x").parent

    def save(self, layer_id: str, data: Path) -> Path:
        """Keep what is in a home's `data` under that name, complete or absent; what is there already stays. Its place among the layers.

        On disk when the file system shares blocks, else when it is synced next. `InvalidError` for a bad name.
        """
        link = self._links / _checked(layer_id)
        if link.exists():
            return link
        self._top.mkdir(exist_ok=True, mode=0o700)
        aside, place = self._top / f"{_ASIDE}{layer_id}", self._top / layer_id
        for left in (aside, place):
            _remove(left)
        aside.mkdir(mode=0o700)
        copy_files(data, aside, read_only=True)
        aside.rename(place)
        self._links.mkdir(parents=True, exist_ok=True, mode=0o700)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(place / _DATA / _UPPER, self._links))
        return link

    def remove(self, layer_id: str) -> None:
        """Its name first. Idempotent."""
        link = self._links / _checked(layer_id)
        if link.is_symlink():
            link.unlink()
        _remove(self._top / layer_id)

    def sweep(self) -> None:
        """Remove what was begun by a process that is no more, and what has no link."""
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(self._top)):
                if entry.name.startswith(_ASIDE) or not (self._links / entry.name).is_symlink():
                    _remove(Path(entry.path))


def _checked(layer_id: str) -> str:
    if _SAFE_NAME.fullmatch(layer_id) is None:
        raise InvalidError(f"Invalid layer ID: {layer_id!r}")
    return layer_id


def _remove(directory: Path) -> None:
    if directory.exists():
        with contextlib.suppress(OSError):  # an ordinary directory, or none
            btrfs.destroy_subvolume(directory, _DATA)
        remove_tree(directory)
