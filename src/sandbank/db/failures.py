"""What a database that cannot be used raises. While a connection is being opened asyncpg's own errors come through SQLAlchemy."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it ships none
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

UNUSABLE: tuple[type[Exception], ...] = (OSError, DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


def is_bad_value(error: BaseException) -> bool:
    """Whether the database works and refuses a value: SQLSTATE class 22, or what asyncpg cannot encode."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    return (isinstance(state, str) and state.startswith("22")) or isinstance(cause.__cause__, asyncpg.DataError)
