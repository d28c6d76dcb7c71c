"""How much a client may have kept with a sandbox.

All of it but the variables is in every answer of a node about what it runs, and one that grows too large is none: without these bounds
a handful of sandboxes with megabytes of metadata would cost all teams their node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sandbank.domain.errors import InvalidError

METADATA_BYTES = 16 * 1024
NETWORK_BYTES = 32 * 1024
# What Linux takes for one variable of a new program (MAX_ARG_STRLEN, execve(2)); with more no command could be started at all.
VARIABLES_BYTES = 128 * 1024


def check_payload(metadata: Mapping[str, str], env_vars: Mapping[str, str], network: Mapping[str, Any] | None) -> None:
    """`InvalidError` for what is too large, and for variables that no program can be given."""
    _check_size("metadata", _size(metadata), METADATA_BYTES)
    check_network(network)
    for name, value in env_vars.items():
        if not name or "=" in name or "\0" in name:
            raise InvalidError(f"envVars: {name[:64]!r} cannot be the name of an environment variable")
        if "\0" in value:
            raise InvalidError(f"envVars: the value of {name[:64]!r} has a null character")
    # Each has an equals sign and ends with a null character.
    _check_size("envVars", _size(env_vars) + 2 * len(env_vars), VARIABLES_BYTES)


def check_network(network: Mapping[str, Any] | None) -> None:
    """`InvalidError` when the network object is too large to be kept with a sandbox."""
    _check_size("network", len(json.dumps(network)), NETWORK_BYTES)


def _size(pairs: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in pairs.items())


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise InvalidError(f"{what} has {size} bytes, and at most {most} are kept with a sandbox")
