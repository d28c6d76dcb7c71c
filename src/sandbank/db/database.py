"""Opening the database, whichever of the two it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from sandbank.domain.errors import InvalidError

# Longer than any transaction of ours, shorter than a client's patience.
_SQLITE_BUSY_SECONDS = 10
_STATEMENT_SECONDS = 10
_CONNECT_SECONDS = 5
# How long a request waits for one of the connections.
_POOL_SECONDS = 5
# What libpq's URLs may say, by asyncpg's names.
_PARAMETERS = {"sslmode": "ssl", "ssl": "ssl", "host": "host", "port": "port"}
_HERE = "POSTGRES_CONNECTION_STRING"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections to PostgreSQL one process keeps, and how many more it opens under load."""

    size: int = field(default=10)
    overflow: int = field(default=10)


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def normalise_url(url: str) -> str:
    """What SQLAlchemy wants to read instead of the usual `postgres://…?sslmode=disable`. Anything with a driver passes unchanged.

    `InvalidError` for what no one can connect to; it never repeats the URL, which has a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidError(f"{_HERE} cannot be read: {error}") from error
    if parts.scheme in ("postgres", "postgresql"):
        query = []
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _PARAMETERS:
                raise InvalidError(f"{_HERE} has a parameter {name!r} that is not known: it may have {', '.join(sorted(_PARAMETERS))}")
            query.append((_PARAMETERS[name], value))
        if not parts.path.strip("/"):
            raise InvalidError(f"{_HERE} names no database: postgresql://user:password@host:5432/name")
        return urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, urlencode(query), ""))
    if parts.scheme not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
        raise InvalidError(f"{_HERE} must begin with postgresql://")
    return url


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        # Readers beside one writer; an acknowledged commit survives a killed process, which is what the weaker `synchronous` promises.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_SECONDS * 1000}")
    finally:
        cursor.close()


class Database:
    """An engine and its sessions; `close` when done. Nothing is opened before the first use.

    A statement may take ten seconds, a connection five to open; a connection that broke is replaced when it is next used.
    """

    def __init__(self, url: str, limits: PoolLimits | None = None) -> None:
        self.url = normalise_url(url)
        sqlite = self.url.startswith("sqlite")
        self.engine: AsyncEngine = _engine(self.url, {} if sqlite else _postgres_options(limits or PoolLimits()))
        if sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, expire_on_commit=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _postgres_options(limits: PoolLimits) -> dict[str, Any]:
    return {
        "pool_pre_ping": True,
        "pool_size": limits.size,
        "max_overflow": limits.overflow,
        "pool_timeout": _POOL_SECONDS,
        "connect_args": {
            "timeout": _CONNECT_SECONDS,
            # The server's own limit comes first; this one is for a server that has gone silent.
            "command_timeout": _STATEMENT_SECONDS + 2,
            "server_settings": {
                "application_name": "sandbank",
                "statement_timeout": f"{_STATEMENT_SECONDS}s",
                "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",
            },
        },
    }


def _engine(url: str, options: dict[str, Any]) -> AsyncEngine:
    try:
        return create_async_engine(make_url(url), **options)
    except (ArgumentError, ValueError) as error:
        raise InvalidError(f"{_HERE} cannot be read") from error
