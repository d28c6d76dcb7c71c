"""Who gets a page for people and who gets JSON (contract data-plane §7.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BROWSER = re.compile(rb"mozilla|chrome|safari|firefox|edge|opera|msie", re.IGNORECASE)
_FETCH_BY_SCRIPT = frozenset({b"cors", b"no-cors", b"same-origin", b"websocket"})


def wants_html(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the sender of these request headers (names in lower case) is better served with HTML than with JSON."""
    accept = fields.get(b"accept", b"").lower()
    if b"application/json" in accept and b"text/html" not in accept:
        return False
    mode = fields.get(b"sec-fetch-mode", b"").lower()
    if mode in _FETCH_BY_SCRIPT:
        return False
    if mode != b"navigate" and fields.get(b"x-requested-with"):
        return False
    return _BROWSER.search(fields.get(b"user-agent", b"")) is not None
