"""What a client accepts, and which part of a file it wants."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from typing import Literal

Encoding = Literal["gzip", "identity"]

_CONDITIONAL = ("range", "if-modified-since", "if-none-match", "if-range")
_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*")
_DATE = re.compile(r"[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _qualities(accept: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for item in accept.split(","):
        name, _, parameters = item.partition(";")
        quality = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if name.strip():
            found.append((name.strip().lower(), quality))
    return sorted(found, key=lambda pair: -pair[1])


def choose_encoding(headers: Mapping[str, str]) -> Encoding | None:
    """How to send the body; None when nothing we have is acceptable (406). A partial or conditional request forces identity."""
    accept = headers.get("accept-encoding")
    if accept is None:
        return "identity"
    qualities = _qualities(accept)
    rejected = {name for name, quality in qualities if quality == 0}
    named = {name for name, _ in qualities}
    identity_rejected = "identity" in rejected or ("*" in rejected and "identity" not in named)
    if any(name in headers for name in _CONDITIONAL):
        return None if identity_rejected else "identity"
    for name, quality in qualities:
        if quality == 0:
            continue
        if name == "identity" or name == "gzip":
            return "gzip" if name == "gzip" else "identity"
        if name == "*":
            return "gzip" if identity_rejected else "identity"
    return None if identity_rejected else "identity"


def parse_date(text: str) -> int | None:
    """Seconds since the epoch of an HTTP date; None for any other text."""
    match = _DATE.fullmatch(text.strip())
    if match is None or match[2] not in _MONTHS:
        return None
    day, _, year, hour, minute, second = match.groups()
    return calendar.timegm((int(year), _MONTHS.index(match[2]) + 1, int(day), int(hour), int(minute), int(second)))


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Offset and length of a single range within `size`; `(size, 0)` for one that cannot be met; None where the header is to be ignored.

    Several ranges at once are ignored, which HTTP allows.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, length)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return (size, 0)
    end = min(int(last), size - 1) if last else size - 1
    return (start, end - start + 1)
