"""What a registry demands of somebody it does not know: `WWW-Authenticate`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SCHEME = re.compile(r"\s*(?P<scheme>[A-Za-z]+)(?:\s+(?P<rest>.*))?", re.DOTALL)
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme, in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenge(headers: list[str]) -> Challenge | None:
    """The first challenge that can be met, tokens before passwords; `None` when there is none."""
    found: dict[str, Challenge] = {}
    for header in headers:
        match = _SCHEME.fullmatch(header[:8192])
        if match is not None:
            parameters = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(match["rest"] or "")}
            found.setdefault(match["scheme"].lower(), Challenge(match["scheme"].lower(), parameters))
    return found.get("bearer") or found.get("basic")
