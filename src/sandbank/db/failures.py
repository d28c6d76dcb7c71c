"""What a database that cannot be used raises. While a connection is being opened asyncpg's own errors come through SQLAlchemy."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it ships none
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

UNUSABLE: tuple[type[Exception], ...] = (OSError, DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
