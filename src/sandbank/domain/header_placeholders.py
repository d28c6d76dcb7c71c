"""Placeholders in header values: `${e2b.secrets.NAME}` and `${e2b.identity.tokens.NAME}` (rest-api contract §10.1).

What stands between the first point and the brace is its *reference*, `secrets.NAME` or `identity.tokens.NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SECRET = "secrets."  # noqa: S105  # a prefix
IDENTITY = "identity.tokens."
_PLACEHOLDER = re.compile(r"\$\{e2b\.((?:secrets|identity\.tokens)\.[A-Za-z0-9_-]{1,128})\}")
_START = "${e2b."


def is_well_formed(value: str) -> bool:
    """Whether whatever begins like a placeholder is one."""
    return _START not in _PLACEHOLDER.sub("", value)


def references(value: str) -> set[str]:
    """All that it wants, as written."""
    return set(_PLACEHOLDER.findall(value))


def named(references: Iterable[str], kind: str) -> list[str]:
    """The names of those of one kind, in their order."""
    return [reference.removeprefix(kind) for reference in references if reference.startswith(kind)]


def fill(value: str, values: Mapping[str, str]) -> str:
    """With values by reference in their places, in one pass: what a value contains is none. `KeyError` for a missing one."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], value)
