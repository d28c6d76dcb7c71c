"""Slugs of teams: the namespace of their templates (templates contract §3.1)."""

from __future__ import annotations

import re
import unicodedata

from sandbank.domain.errors import InvalidError

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def derive_slug(name: str) -> str:
    """What E2B's trigger makes of a team's name: the part before an `@`, in plain lower-case letters, with dashes for spaces."""
    plain = unicodedata.normalize("NFKD", name.partition("@")[0])
    kept = re.sub(r"[^a-zA-Z0-9\s-]", "", plain, flags=re.ASCII).lower()
    return re.sub(r"[\s-]+", "-", kept)[:50].strip("-") or "team"


def require_slug(text: str) -> str:
    """`InvalidError` if templates could not be named with it."""
    if _SLUG.fullmatch(text) is None:
        raise InvalidError(f"slug {text!r} must be 1 to 63 of a-z, 0-9, - and _, and begin with a letter or digit")
    return text
