"""Images made by tests, as OCI layouts on disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def tar_of(files: dict[str, bytes]) -> bytes:
    """An archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Layout:
    """A directory in the form of the OCI image layout specification."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "blobs" / "sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._manifests: list[dict[str, Any]] = []

    def add_blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """The descriptor of a blob that is written."""
        digest = hashlib.sha256(content).hexdigest()
        (self.directory / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_image(self, layers: list[bytes], architecture: str = "amd64", tag: str | None = None) -> dict[str, Any]:
        """The descriptor of an image with these layers, given as archives; with a `tag` it has that name in the layout."""
        diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        configuration = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add_blob(json.dumps(configuration).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.add_blob(gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
        }
        descriptor = self.add_blob(json.dumps(manifest).encode(), MANIFEST)
        descriptor["platform"] = {"os": "linux", "architecture": architecture}
        if tag is not None:
            self._name(descriptor, tag)
        return descriptor

    def add_index(self, images: list[dict[str, Any]], tag: str) -> dict[str, Any]:
        """The descriptor of an index of images for several platforms."""
        descriptor = self.add_blob(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}).encode(), INDEX)
        self._name(descriptor, tag)
        return descriptor

    def _name(self, descriptor: dict[str, Any], tag: str) -> None:
        self._manifests.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}})
        (self.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self._manifests}))
