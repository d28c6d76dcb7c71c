"""What an image consists of: digests, names, manifests (OCI distribution and image specifications, Docker's schema 2)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sandbank.docker_reverse_proxy.core.scope import TEMPLATE_ID
from sandbank.domain.errors import InvalidError, NotFoundError

REPOSITORY = TEMPLATE_ID
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"

_INDEXES = frozenset({"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"})
_MANIFESTS = frozenset({"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"})
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MOST_PARTS = 1000


def parse_digest(text: str) -> str:
    """The hexadecimal digits of `sha256:…`; `InvalidError` for another algorithm or form."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise InvalidError("a digest must be sha256: and 64 hexadecimal digits", error_code="DIGEST_INVALID")
    return match[1]


def format_digest(hexadecimal: str) -> str:
    """The digest with its algorithm."""
    return f"sha256:{hexadecimal}"


def unknown_manifest(reference: str) -> NotFoundError:
    """No such image."""
    return NotFoundError(f"there is no image {reference[:200]}", error_code="MANIFEST_UNKNOWN")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What it refers to, by the hexadecimal digits: an image's configuration and layers, or an index's images."""

    media_type: str
    blobs: tuple[str, ...]
    manifests: tuple[str, ...]


def parse_manifest(content: bytes, media_type: str) -> Manifest:
    """Read a manifest of one image or of several platforms; `InvalidError` for anything else, Docker's schema 1 among it.

    `media_type` is what the client says it is; where the content says so as well, both must agree.
    """
    media_type = media_type.partition(";")[0].strip()
    if media_type not in _INDEXES and media_type not in _MANIFESTS:
        raise _invalid(f"{media_type[:100] or 'a manifest without a type'} is not supported")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(body, dict) or body.get("schemaVersion") != 2 or body.get("mediaType", media_type) != media_type:
        raise _invalid("it is not what its type says")
    if media_type in _INDEXES:
        return Manifest(media_type, (), tuple(_digest_of(item) for item in _parts(body, "manifests")))
    layers = [item for item in _parts(body, "layers") if not (isinstance(item, dict) and item.get("urls"))]  # those are elsewhere
    return Manifest(media_type, tuple(_digest_of(item) for item in (body.get("config"), *layers)), ())


def _parts(body: dict[str, Any], name: str) -> list[Any]:
    parts = body.get(name)
    if not isinstance(parts, list) or len(parts) > _MOST_PARTS:
        raise _invalid(f"its {name} are not a list, or too many")
    return parts


def _digest_of(item: object) -> str:
    digest = item.get("digest") if isinstance(item, dict) else None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise _invalid("a part of it has no valid digest")
    return match[1]


def _invalid(reason: str) -> InvalidError:
    return InvalidError(f"the manifest is invalid: {reason}", error_code="MANIFEST_INVALID")
