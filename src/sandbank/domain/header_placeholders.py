"""Placeholders in header values: `${e2b.secrets.NAME}` and `${e2b.identity.tokens.NAME}` (rest-api contract §10.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\$\{e2b\.(secrets|identity\.tokens)\.([A-Za-z0-9_-]{1,128})\}")
_START = "${e2b."


def is_well_formed(value: str) -> bool:
    """Whether whatever begins like a placeholder is one."""
    return _START not in _PLACEHOLDER.sub("", value)


def secret_names(value: str) -> set[str]:
    """The secrets it wants, as written."""
    return {name for kind, name in _PLACEHOLDER.findall(value) if kind == "secrets"}


def wants_identity(value: str) -> bool:
    """Whether it wants a workload token."""
    return any(kind != "secrets" for kind, _ in _PLACEHOLDER.findall(value))


def fill(value: str, secrets: Mapping[str, str]) -> str:
    """With the secrets' values in their places, in one pass: what a secret contains is no placeholder. `KeyError` for what is not given."""

    def put(match: re.Match[str]) -> str:
        if match[1] != "secrets":
            raise KeyError(match[2])
        return secrets[match[2]]

    return _PLACEHOLDER.sub(put, value)
