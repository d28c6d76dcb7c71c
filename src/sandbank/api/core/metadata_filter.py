"""The `metadata` query parameter of the lists (REST contract §8.5)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_plus

from sandbank.domain.errors import InvalidError


def parse_metadata_filter(text: str) -> dict[str, str]:
    """The pairs of `k=v&k2=v2`, which clients encode as parts, as a whole and as a parameter; the last is undone already.

    `InvalidError` says what is wrong.
    """
    pairs: dict[str, str] = {}
    for part in unquote_plus(text).split("&"):
        pieces = part.split("=")
        if len(pieces) != 2:
            raise InvalidError(f"invalid key value pair in query: {part}")
        pairs[unquote_plus(pieces[0])] = unquote_plus(pieces[1])
    return pairs


def matches(metadata: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether every wanted pair is there; others may be there as well."""
    return all(metadata.get(key) == value for key, value in wanted.items())
