"""Page tokens and the order of lists (REST contract §8.5, templates contract §1.13)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter

from sandbank.domain.errors import InvalidError
from sandbank.domain.sandbox import Sandbox

_STARTED, _ID = attrgetter("started_at"), attrgetter("sandbox_id")


def rfc3339(at: datetime) -> str:
    """As Go's RFC3339Nano writes it: no trailing zeros, no point without digits behind it, `Z`."""
    at = at.astimezone(UTC)
    fraction = f".{at.microsecond:06d}".rstrip("0").rstrip(".") if at.microsecond else ""
    return at.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of the page before."""

    at: datetime
    row_id: str


def encode_cursor(cursor: Cursor, *, ascending: bool) -> str:
    """The opaque token for `X-Next-Token`."""
    text = f"{rfc3339(cursor.at)}__{cursor.row_id}" + ("__asc" if ascending else "")
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_cursor(token: str, *, ascending: bool) -> Cursor:
    """What `encode_cursor` made, for the same order; `InvalidError` for anything else."""
    try:
        parts = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode().split("__")
        if len(parts) != (3 if ascending else 2) or (ascending and parts[2] != "asc"):
            raise ValueError("wrong parts")
        at = datetime.fromisoformat(parts[0])
        if at.tzinfo is None:
            raise ValueError("no zone")
    except (ValueError, UnicodeError, binascii.Error) as error:
        raise InvalidError("Invalid next token") from error
    return Cursor(at, parts[1])


def in_order(sandboxes: Iterable[Sandbox], *, ascending: bool) -> list[Sandbox]:
    """Newest first and by ID within an instant; ascending turns both round."""
    ordered = sorted(sandboxes, key=_STARTED, reverse=not ascending)
    if any(one.started_at == other.started_at for one, other in pairwise(ordered)):
        # Rare, and what comes from a store is nearly in order of time, but not at all in that of IDs.
        ordered = sorted(sorted(ordered, key=_ID, reverse=ascending), key=_STARTED, reverse=not ascending)
    return ordered


def page(rows: Sequence[Sandbox], after: Cursor | None, limit: int, *, ascending: bool) -> tuple[Sequence[Sandbox], Cursor | None]:
    """The rows behind `after`, at most `limit`, and the cursor of the last if there are more."""
    rest = rows if after is None else [row for row in rows if _follows(row, after, ascending=ascending)]
    chosen = rest[:limit]
    if len(rest) <= limit or not chosen:
        return chosen, None
    return chosen, Cursor(chosen[-1].started_at, chosen[-1].sandbox_id)


def _follows(row: Sandbox, cursor: Cursor, *, ascending: bool) -> bool:
    if row.started_at != cursor.at:
        return (row.started_at > cursor.at) == ascending
    return row.sandbox_id != cursor.row_id and (row.sandbox_id < cursor.row_id) == ascending
