"""Snapshots on their way to other nodes and from them: what each consists of, and where its parts belong on this one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbank.artifacts.exchange import SNAPSHOT, Description, Exchange, Manifest, Part
from sandbank.artifacts.shared_parts import BUNDLES, HEAPS, LAYERS, SharedParts
from sandbank.domain.errors import ConflictError, InternalError
from sandbank.runtime.linux import btrfs
from sandbank.runtime.snapshot.store import SnapshotFacts, SnapshotStore

_DATA, _MEMORY = "data", "memory"


class Transfer:
    """The snapshots of one node. Methods block; errors as those of `Exchange`, and `InternalError` when there is no room."""

    def __init__(self, store: SnapshotStore, data_dir: Path) -> None:
        self._store = store
        self._shared = SharedParts(data_dir)

    def describe(self, snapshot_id: str) -> Description:
        """What another node needs; `ConflictError` when there is no such snapshot."""
        facts = self._store.find(snapshot_id)
        if facts is None:
            raise ConflictError(f"there is no snapshot {snapshot_id}")
        layers = [Path(layer) for layer in facts.layers]
        shared = [f"{LAYERS}/{layer.name}" for layer in layers]
        if facts.bundle:
            shared.append(f"{BUNDLES}/{facts.bundle}")
        shared += sorted({path for path in facts.files.values() if path.startswith(f"{HEAPS}/")})
        parts = [Part(name, self._shared.place_of(name)) for name in shared]
        if any(layer != self._shared.place_of(f"{LAYERS}/{layer.name}") for layer in layers):
            raise InternalError(f"snapshot {snapshot_id} has layers from elsewhere than this node's artefacts")
        parts.append(Part(_DATA, self._store.data(snapshot_id)))
        if facts.has_memory:
            parts.append(Part(_MEMORY, self._store.memory(snapshot_id)))
        document = asdict(facts) | {"layers": [layer.name for layer in layers], "volumes": len(facts.volumes)}
        return Description(SNAPSHOT, document, tuple(parts))

    def place(self, exchange: Exchange, manifest: Manifest) -> None:
        """Have the snapshot on this node, complete or absent, with all it needs."""
        self._shared.fetch(exchange, manifest)
        facts = self._facts(manifest)
        memory = self._store.begin(facts.snapshot_id)
        try:
            data = memory.with_name(_DATA)
            if btrfs.is_subvolume(memory.parents[2]):
                btrfs.make_subvolume(data.parent, data.name)
            else:
                data.mkdir(mode=0o755)
            exchange.fetch(manifest, _DATA, data)
            if facts.has_memory:
                exchange.fetch(manifest, _MEMORY, memory)
            self._store.publish(facts)
        except BaseException:
            self._store.abandon(facts.snapshot_id)
            raise

    def _facts(self, manifest: Manifest) -> SnapshotFacts:
        """As on this node. Of volumes only the number is kept: which directories they are here, whoever resumes it says."""
        try:
            document: dict[str, Any] = dict(manifest.document)
            layers = tuple(str(self._shared.place_of(f"{LAYERS}/{name}")) for name in document["layers"])
            lists = {name: tuple(document[name]) for name in ("mounts", "addresses", "cpu")}
            facts = SnapshotFacts(**document | lists | {"layers": layers, "volumes": ("",) * int(document["volumes"])})
            outside = [path for path in facts.files.values() if path.split("/")[0] not in (BUNDLES, HEAPS) or ".." in path.split("/")]
            if facts.snapshot_id != manifest.build_id or outside or not set(map(_name, document["layers"])) <= set(manifest.parts):
                raise ValueError("it does not fit its parts")
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(f"the manifest of snapshot {manifest.build_id} in storage is damaged: {error}") from error
        return facts


def _name(layer: str) -> str:
    return f"{LAYERS}/{layer}"
