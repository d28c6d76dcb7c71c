"""Column types that mean the same in PostgreSQL and in SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

# PostgreSQL gets its native type, SQLite keeps JSON text.
Json: Any = JSON().with_variant(JSONB(), "postgresql")
TextList: Any = JSON().with_variant(ARRAY(Text()), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC: `timestamptz` in PostgreSQL, naive UTC text in SQLite, which has no zones. Naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Normalise what goes in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must carry a zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
