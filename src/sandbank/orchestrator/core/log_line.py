"""Lines from inside a sandbox, where anybody may have written them, as records that are safe to keep (templates contract §5.2).

Whose line it is, the node knows by the network it came from; what the line says about that is thrown away.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbank.domain.log_record import ENVD, LogRecord, LogSubject, level_of, strict_json

_OWN = frozenset(
    "teamid envid templateid buildid sandboxid instanceid executionid nodeid clusterid service source category internal path".split()
)
_ITEMS_KEPT = 64
_LEVELS = 32  # what only just could be read may be too deep to be written, or the other way round
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TOLERANCE_NS = 60 * 1_000_000_000  # data-plane contract §11.4


@dataclass(frozen=True, slots=True)
class LogOrigin:
    """A sandbox as its lines are stamped; nothing in it happened before `started_ns`."""

    subject: LogSubject
    started_ns: int


def parse_line(data: bytes, origin: LogOrigin, now_ns: int) -> LogRecord | None:
    """The record of one line; None for what is no JSON object, or nested too deeply. A time that cannot be becomes `now_ns`."""
    try:
        values: Any = strict_json(data)
    except ValueError:
        return None
    if not isinstance(values, dict) or _is_deep(values, _LEVELS):
        return None
    message = values.pop("message", values.pop("msg", ""))
    level = level_of(values.pop("level", None))
    timestamp_ns = _timestamp(values.pop("timestamp", None), origin, now_ns)
    return LogRecord(
        timestamp_ns=timestamp_ns,
        subject=origin.subject,
        service=ENVD,
        level=level,
        message=_clean(message if isinstance(message, str) else json.dumps(message)),
        fields=_fields(values),
    )


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if len(fields) == _ITEMS_KEPT:
            break
        if re.sub(r"[._-]", "", name).lower() in _OWN:
            continue
        fields[_clean(name)] = _clean(value) if isinstance(value, str) else value
    return fields


def _is_deep(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(_is_deep(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))


def _clean(text: str) -> str:
    """Without halves of characters, which JSON can say and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _timestamp(value: object, origin: LogOrigin, now_ns: int) -> int:
    found = _parse_timestamp(value) if isinstance(value, str) else None
    if found is None or not origin.started_ns - _TOLERANCE_NS <= found <= now_ns + _TOLERANCE_NS:
        return now_ns
    return found


def _parse_timestamp(text: str) -> int | None:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    try:
        whole = datetime.fromisoformat(match[1].upper() + ("+00:00" if match[3] in "Zz" else match[3]))
        seconds = int(whole.timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
