"""How builds and snapshots travel between nodes: a manifest each, and archives that several manifests may share.

`builds/<build ID>.json` is the manifest, written last: what has one is complete. An archive that belongs to one build alone is
`snapshots/<build ID>/<name>.tar.zst`; of those that are shared (layers, agent bundles, memory of zygotes) `<name>.json` says which object
holds it and what its checksum is, so that two nodes that store the same one at the same time do not mix theirs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbank.artifacts.archive import Packing, unpack
from sandbank.artifacts.builds import check_name
from sandbank.artifacts.remote import Remote
from sandbank.domain.errors import InternalError, InvalidError, UnavailableError

FORMAT_VERSION = 1
_MANIFESTS, _SNAPSHOTS = "builds", "snapshots"
TEMPLATE, SNAPSHOT = "template", "snapshot"


@dataclass(frozen=True, slots=True)
class Part:
    """Something to be archived: a directory, or a file. A shared one's name is `<kind>/<identity>`, the same on every node."""

    name: str
    path: Path

    @property
    def is_shared(self) -> bool:
        """Whether other builds may need it as well."""
        return "/" in self.name


@dataclass(frozen=True, slots=True)
class Description:
    """A build as it is on a node. `document` is JSON that means the same on every node."""

    kind: str
    document: dict[str, Any]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """An object: where it is, and what it must be."""

    key: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A build as it is in storage: its parts by name, those to be put in place first coming first."""

    build_id: str
    kind: str
    document: dict[str, Any]
    parts: dict[str, Archive]


class Exchange:
    """Stores and fetches builds. Methods block; `UnavailableError` when the storage cannot be used, `InternalError` for damage."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._is_closed = False

    def close(self) -> None:
        """Have what other threads are at fail within moments, with `UnavailableError`."""
        self._is_closed = True

    def has(self, build_id: str) -> bool:
        """Whether the build can be fetched."""
        return self._remote.get(_manifest_key(build_id)) is not None

    def store(self, build_id: str, description: Description) -> int:
        """Store a build, unless it is there; how many bytes that took. Given up, what is stored so far is found again the next time."""
        if self.has(build_id):
            return 0
        stored, parts = 0, {}
        for part in description.parts:
            archive, is_new = self._store_part(build_id, part)
            parts[part.name] = asdict(archive)
            stored += archive.size if is_new else 0
        document = {
            "format_version": FORMAT_VERSION,
            "build_id": build_id,
            "kind": description.kind,
            "document": description.document,
            "parts": parts,
        }
        self._remote.put(_manifest_key(build_id), json.dumps(document, indent=1).encode())
        self._check_complete(build_id, parts)
        return stored

    def find(self, build_id: str) -> Manifest | None:
        """A build's manifest, or None when it is not in storage, or not whole."""
        text = self._remote.get(_manifest_key(build_id))
        if text is None:
            return None
        try:
            found = json.loads(text)
            if found["format_version"] != FORMAT_VERSION or found["build_id"] != build_id:
                raise ValueError("it is another build's, or of another format")
            parts = {_checked(name): Archive(**archive) for name, archive in found["parts"].items()}
            return Manifest(build_id, found["kind"], dict(found["document"]), parts)
        except (ValueError, KeyError, TypeError, InvalidError) as error:
            raise InternalError(f"the manifest of build {build_id} in storage is damaged: {error}") from error

    def fetch(self, manifest: Manifest, name: str, directory: Path) -> None:
        """Unpack one part into an empty directory; a part that is a file appears there under its own name."""
        archive = manifest.parts[name]
        try:
            unpack(self._while_open(self._remote.stream(archive.key)), directory, archive.sha256, f"{archive.key} in storage")
        except FileNotFoundError as error:
            raise InternalError(f"{archive.key} is gone from storage") from error

    def remove(self, build_id: str) -> None:
        """Forget a build and what is its alone; shared parts stay. Idempotent."""
        self._remote.delete([_manifest_key(build_id)])
        self._remote.delete(self._remote.list(f"{_SNAPSHOTS}/{check_name(build_id)}/"))

    def list(self) -> set[str]:
        """The builds whose manifests are in storage."""
        return {key.removeprefix(f"{_MANIFESTS}/").removesuffix(".json") for key in self._remote.list(_MANIFESTS)}

    def list_snapshots(self) -> set[str]:
        """The snapshots of which anything is in storage, whole or not."""
        return {key.split("/")[1] for key in self._remote.list(_SNAPSHOTS)}

    def _check_complete(self, build_id: str, parts: dict[str, dict[str, Any]]) -> None:
        """Now that the manifest keeps others from removing what is shared: did somebody before?"""
        for name, archive in parts.items():
            if not self._remote.has(archive["key"]):
                self._remote.delete([_manifest_key(build_id), f"{name}.json"])
                raise UnavailableError(f"{archive['key']} vanished from storage while {build_id} was stored")

    def _while_open(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._is_closed:
                raise UnavailableError("this node is stopping")
            yield chunk

    def _store_part(self, build_id: str, part: Part) -> tuple[Archive, bool]:
        if not part.is_shared:
            return self._put(f"{_SNAPSHOTS}/{build_id}/{part.name}.tar.zst", part), True
        text = self._remote.get(f"{part.name}.json")
        if text is not None:
            return Archive(**json.loads(text)), False
        archive = self._put(f"{part.name}/{uuid.uuid4().hex}.tar.zst", part)
        self._remote.put(f"{part.name}.json", json.dumps(asdict(archive)).encode())
        return archive, True

    def _put(self, key: str, part: Part) -> Archive:
        packing = Packing(part.path) if part.path.is_dir() else Packing(part.path.parent, part.path.name)
        self._remote.put(key, self._while_open(packing))
        return Archive(key, packing.sha256, packing.size)


def _manifest_key(build_id: str) -> str:
    return f"{_MANIFESTS}/{check_name(build_id)}.json"


def _checked(name: str) -> str:
    for piece in name.split("/"):
        check_name(piece)
    return name
