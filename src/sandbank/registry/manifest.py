"""Manifests, indexes and configurations of images: the OCI's and Docker's schema 2. Pure: bytes in, values out.

Everything is written by whoever owns the registry. `ValueError`, with a reason fit for users, for what makes no sense.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sandbank.registry.reference import is_digest

INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))

LARGEST_DOCUMENT_BYTES = 4 << 20
_LARGEST_BLOB_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: what it is called, how long it is, and what it claims to be."""

    digest: str
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """One of an index's images."""

    descriptor: Descriptor
    os: str
    architecture: str
    variant: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image's parts; layers lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself. `diff_ids` are the layers' digests without compression."""

    os: str
    architecture: str
    env: dict[str, str]
    diff_ids: tuple[str, ...]


def parse_document(body: bytes, media_type: str) -> Manifest | tuple[Platform, ...]:
    """A manifest, or an index as its images."""
    document = _object(body)
    kind = document.get("mediaType") or media_type.partition(";")[0].strip()
    if kind in INDEX_TYPES or (kind not in MANIFEST_TYPES and isinstance(document.get("manifests"), list)):
        return tuple(_platform(entry) for entry in _list(document, "manifests"))
    if kind not in MANIFEST_TYPES and document.get("schemaVersion") != 2:
        raise ValueError(f"its manifest has a format that is not supported ({str(kind)[:80] or 'none named'})")
    layers = tuple(_descriptor(entry) for entry in _list(document, "layers"))
    for layer in layers:
        if "tar" not in layer.media_type or "foreign" in layer.media_type or "encrypted" in layer.media_type:
            raise ValueError(f"a layer has a format that is not supported ({layer.media_type[:80]})")
    return Manifest(_descriptor(document.get("config")), layers)


def parse_config(body: bytes) -> ImageConfig:
    """An image's configuration, as far as it matters here."""
    document = _object(body)
    settings = document.get("config") or {}
    if not isinstance(settings, dict):
        raise ValueError("its configuration is damaged")
    env: dict[str, str] = {}
    for entry in settings.get("Env") or []:
        name, _, value = str(entry).partition("=")
        if name and "\0" not in str(entry):
            env[name] = value
    rootfs = document.get("rootfs")
    diff_ids = _list(rootfs, "diff_ids") if isinstance(rootfs, dict) else []
    return ImageConfig(
        os=str(document.get("os") or "linux"),
        architecture=str(document.get("architecture") or ""),
        env=env,
        diff_ids=tuple(map(str, diff_ids)),
    )


def pick(platforms: tuple[Platform, ...], architecture: str) -> Descriptor | None:
    """The Linux image for `architecture`, the plainest variant if there are several, or the only one if it does not say what it is for."""
    if len(platforms) == 1 and not platforms[0].os:
        return platforms[0].descriptor
    fitting = [one for one in platforms if one.os == "linux" and one.architecture == architecture]
    fitting.sort(key=lambda one: ("", "v8").index(one.variant) if one.variant in ("", "v8") else 2)
    return fitting[0].descriptor if fitting else None


def others(platforms: tuple[Platform, ...]) -> str:
    """The architectures that there are, for an error."""
    names = [one.architecture for one in platforms if one.os == "linux" and one.architecture not in ("", "unknown")]
    return ", ".join(dict.fromkeys(names)) or "none for Linux"


def _platform(entry: Any) -> Platform:
    descriptor = _descriptor(entry)
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        platform = {}
    return Platform(descriptor, *(str(platform.get(key, "")) for key in ("os", "architecture", "variant")))


def _descriptor(entry: Any) -> Descriptor:
    if not isinstance(entry, dict):
        raise ValueError("its manifest is damaged")
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError("its manifest names a part by a digest that is not SHA-256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST_BLOB_BYTES:
        raise ValueError("its manifest names a part without a sensible size")
    return Descriptor(digest, size, str(entry.get("mediaType", "")))


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("what the registry sent is not JSON") from error
    if not isinstance(document, dict):
        raise ValueError("what the registry sent is not a JSON object")
    return document


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise ValueError(f"its manifest has no {key}")
    return value
