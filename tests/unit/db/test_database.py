"""Database URLs as operators write them, and times that keep their zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.asyncpg import dialect as postgresql
from sqlalchemy.dialects.sqlite.aiosqlite import dialect as sqlite

from sandbank.db.columns import UtcDateTime
from sandbank.db.database import normalise_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5432/d?sslmode=disable", "postgresql+asyncpg://u:p@h:5432/d?ssl=disable"),
        ("postgres://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d?host=/run", "postgresql+asyncpg://h/d?host=/run"),
        ("sqlite+aiosqlite:////a/b.db", "sqlite+aiosqlite:////a/b.db"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert normalise_url(url) == expected


@pytest.mark.parametrize("make_dialect", [sqlite, postgresql])
def test_times_keep_their_moment(make_dialect: Callable[[], Dialect]) -> None:
    column, dialect = UtcDateTime(), make_dialect()
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    stored = column.process_bind_param(at, dialect)
    assert column.process_result_value(stored, dialect) == at
    assert column.process_result_value(stored, dialect).tzinfo is UTC  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="zone"):
        column.process_bind_param(at.replace(tzinfo=None), dialect)
