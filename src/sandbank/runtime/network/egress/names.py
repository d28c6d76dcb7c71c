"""Names as TLS and HTTP clients write them, in the one form that policies have: lower case, no final dot."""

from __future__ import annotations

import re

MAX_NAME = 253
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_ADDRESS = re.compile(r"[0-9.]+|0x[0-9a-f]+(\.[0-9a-fx]+)*")


def canonical(text: bytes) -> str | None:
    """The name, or None for what is none: addresses in whatever notation, other characters, too long."""
    try:
        name = text.decode("ascii").lower().removesuffix(".")
    except UnicodeDecodeError:
        return None
    if not 0 < len(name) <= MAX_NAME or _NAME.fullmatch(name) is None or _ADDRESS.fullmatch(name) is not None:
        return None
    return name


def of_authority(text: bytes) -> str | None:
    """The name in `host[:port]`; None also for user information and other ports than numbers."""
    host, colon, port = text.partition(b":")
    if colon and not (port.isdigit() and len(port) <= 5):
        return None
    return canonical(host)
