"""Certificates in PEM, compared by content. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


def split_pem(text: str) -> list[str]:
    """The certificates of a bundle in normal form, without comments and repetitions."""
    found: dict[str, None] = {}
    for match in _PEM.finditer(text):
        body = "".join(match[1].split())
        lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
        found[f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"] = None
    return list(found)


def without(certificates: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Those of `certificates` that are not among `known`."""
    seen = set(known)
    return tuple(certificate for certificate in certificates if certificate not in seen)


def file_name(certificate: str) -> str:
    """A stable name for a certificate's file; update-ca-certificates wants `.crt`."""
    return f"sandbank-{hashlib.sha256(certificate.encode()).hexdigest()[:16]}.crt"
