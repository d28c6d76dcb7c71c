"""Opening the database, whichever of the two it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

# Longer than any transaction of ours, shorter than a client's patience.
_SQLITE_BUSY_SECONDS = 10


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def normalise_url(url: str) -> str:
    """What SQLAlchemy wants to read instead of the usual `postgres://…?sslmode=disable`. Anything with a driver passes unchanged."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        return url
    # asyncpg calls the parameter `ssl` and knows the same words.
    query = [("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)]
    return urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, urlencode(query), ""))


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
    """An engine and its sessions; `close` when done."""

    def __init__(self, url: str) -> None:
        self.url = normalise_url(url)
        sqlite = self.url.startswith("sqlite")
        options: dict[str, Any] = {} if sqlite else {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 10}
        self.engine: AsyncEngine = create_async_engine(self.url, **options)
        if sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, expire_on_commit=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
