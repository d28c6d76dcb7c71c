"""Layers and agent bundles of a node that nothing refers to any more: of upgrades, and brought from elsewhere for what has ended."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

from sandbank.artifacts.builds import BuildStore
from sandbank.artifacts.layer_index import LayerIndex
from sandbank.artifacts.shared_parts import BUNDLES, LAYERS, TRASH, SharedParts
from sandbank.domain.errors import InternalError
from sandbank.runtime.linux.trees import remove_tree
from sandbank.runtime.snapshot.saved_layers import SavedLayers
from sandbank.runtime.snapshot.store import SnapshotStore

# What has just been put in place is about to be referred to.
_YOUNG_SECONDS = 24 * 3600.0
# Steps of builds that nobody has repeated for that long are built anew.
_CACHE_SECONDS = 14 * 24 * 3600.0


def remove_unneeded(data_dir: Path, store: SnapshotStore, bundles: Collection[str], layers: Collection[str]) -> list[str]:
    """Remove those that no build and no snapshot refers to, and that are not in `bundles` (names) or `layers` (paths).

    The answer names them, as `<kind>/<identity>`.
    To be called while nothing is fetched, saved or started. Blocks. `InternalError` when it cannot be told what is needed; then all stays.
    """
    if "" in bundles:
        raise InternalError("a sandbox runs of which it is not on record what it needs")
    needed = {f"{BUNDLES}/{name}" for name in bundles} | set(_layers(layers))
    builds = BuildStore(data_dir / "artifacts")
    for build_id in builds.list_ids():
        build = builds.find(build_id)
        needed.update(() if build is None else _layers(map(str, build.layers)))
    for snapshot_id in store.names():
        facts = store.find(snapshot_id)
        if facts is not None:
            needed.add(f"{BUNDLES}/{facts.bundle}")
            needed.update(_layers(facts.layers), ("/".join(path.split("/")[:2]) for path in facts.files.values()))
    needed.update(_layers(LayerIndex(data_dir / "artifacts").keep(_CACHE_SECONDS)))
    shared, saved, removed = SharedParts(data_dir), SavedLayers(data_dir), []
    for kind in (LAYERS, BUNDLES):
        top = shared.place_of(f"{kind}/x").parent
        for name in _old(top):
            if f"{kind}/{name}" not in needed:
                if (top / name).is_symlink():
                    saved.remove(name)
                else:
                    aside = top / f"{TRASH}{uuid.uuid4().hex}"
                    (top / name).rename(aside)
                    remove_tree(aside)
                removed.append(f"{kind}/{name}")
    return removed


def _layers(paths: Iterable[str]) -> list[str]:
    return [f"{LAYERS}/{os.path.basename(path)}" for path in paths]


def _old(top: Path) -> list[str]:
    before = time.time() - _YOUNG_SECONDS
    with contextlib.suppress(FileNotFoundError):
        return [entry.name for entry in os.scandir(top) if entry.name[0] != "." and entry.stat(follow_symlinks=False).st_ctime < before]
    return []
