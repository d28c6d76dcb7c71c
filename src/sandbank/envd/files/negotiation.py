"""What a client accepts, and which part of a file it wants."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from typing import Literal

Encoding = Literal["gzip", "identity"]

_CONDITIONAL = ("range", "if-modified-since", "if-none-match", "if-range")
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})[ \t]*-[ \t]*([0-9]{0,19})[ \t]*")  # 64 bits: more digits are no position
_DATE = re.compile(r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
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


def failed_precondition(headers: Mapping[str, str], modified: int) -> Literal[304, 412] | None:
    """The status that the conditions ask for instead of the file, in the order of RFC 9110 §13.2.2; there are no entity tags here."""
    if "if-match" in headers:
        if headers["if-match"].strip() != "*":
            return 412
    elif (unless := parse_date(headers.get("if-unmodified-since", ""))) is not None and modified > unless:
        return 412
    if "if-none-match" in headers:
        return 304 if headers["if-none-match"].strip() == "*" else None
    since = parse_date(headers.get("if-modified-since", ""))
    return 304 if since is not None and modified <= since else None


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Offset and length of a single range within `size`; `(size, 0)` for one that cannot be met; None where the header is to be ignored.

    Several ranges at once are ignored, which HTTP allows, and so is any range of an empty file.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match.group(1, 2) == ("", "") or not size:
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
