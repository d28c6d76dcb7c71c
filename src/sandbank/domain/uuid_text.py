"""UUIDs as clients write them."""

from __future__ import annotations

import re
import uuid

# Stricter than `uuid.UUID`, which also reads braces, URNs, underscores and digits of any script.
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def parse_uuid(text: str) -> uuid.UUID | None:
    """The UUID in its usual form of five groups, in whatever case, or `None`."""
    return uuid.UUID(text) if _UUID.fullmatch(text) else None
