"""Images as tests need them: layers of single entries, honest or not, and OCI layouts of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from sandbank.registry.limits import PullLimits


def entry(name: str, content: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One entry of an archive; `facts` are attributes of `TarInfo`."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in {"mode": 0o644, **facts}.items():
        setattr(info, key, value)
    return info, content


def directory(name: str, **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **facts})


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "+gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "+zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@dataclass
class Image:
    """Blobs by digest, and the manifest's among them."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""

    @classmethod
    def of(
        cls, layers: Iterable[bytes], *, architecture: str = "amd64", env: Iterable[str] = (), compressions: Iterable[str] = ()
    ) -> Image:
        image = cls()
        archives = list(layers)
        kinds = list(compressions) or ["+gzip"] * len(archives)
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(env), "User": "nobody", "WorkingDir": "/nowhere", "Cmd": ["false"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in archives]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": image.add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [
                image.add(COMPRESSIONS[kind](content), f"application/vnd.oci.image.layer.v1.tar{kind}")
                for content, kind in zip(archives, kinds, strict=True)
            ],
        }
        image.manifest = json.dumps(manifest).encode()
        image.add(image.manifest, "")
        return image

    def add(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def layer_digests(self) -> list[str]:
        return [layer["digest"] for layer in json.loads(self.manifest)["layers"]]


def write_layout(root: Path, images: dict[str, Image]) -> Path:
    """An OCI layout with one image for each architecture."""
    (root / "blobs/sha256").mkdir(parents=True)
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    manifests = []
    for architecture, image in images.items():
        for digest, content in image.blobs.items():
            (root / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(content)
        manifests.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.digest,
                "size": len(image.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    if len(images) > 1:  # skopeo takes an index that is a blob
        body = json.dumps(index).encode()
        (root / "blobs/sha256" / digest_of(body).removeprefix("sha256:")).write_bytes(body)
        index["manifests"] = [{"mediaType": index["mediaType"], "digest": digest_of(body), "size": len(body)}]
    (root / "index.json").write_text(json.dumps(index))
    return root


def local_limits(*trusted: str, **bounds: Any) -> PullLimits:
    """Of pulls from this machine, which is nobody's registry by itself."""
    return PullLimits(trusted_registries=("http://localhost", "http://127.0.0.1", *trusted), **bounds)
