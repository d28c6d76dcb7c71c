"""Asking ClickHouse, wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sandbank.clickhouse.backends import Backend, EngineBackend, ServerBackend, as_lists
from sandbank.domain.errors import InvalidError, UnavailableError

_PATIENCE_SECONDS = 30.0
# E2B's settings name the native protocol; ours is HTTP, which a server has beside it.
_HTTP_PORTS = {9000: 8123, 9440: 8443}


def backend_for(connection_string: str) -> Backend:
    """What `CLICKHOUSE_CONNECTION_STRING` means; `InvalidError` for what means nothing. Nothing is opened yet."""
    parts = urlsplit(connection_string)
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/"):
            raise InvalidError(
                "CLICKHOUSE_CONNECTION_STRING: the embedded engine wants an absolute path: chdb:///var/lib/sandbank/clickhouse"
            )
        return EngineBackend(Path(parts.path))
    if parts.scheme not in ("clickhouse", "clickhouses", "http", "https") or not parts.hostname:
        raise InvalidError(
            "CLICKHOUSE_CONNECTION_STRING must be http(s)://[user:password@]host:port/database, clickhouse://…, or chdb:///path"
        )
    return ServerBackend(_over_http(connection_string))


def _over_http(connection_string: str) -> str:
    parts = urlsplit(connection_string)
    try:
        port = parts.port
    except ValueError as error:
        raise InvalidError("CLICKHOUSE_CONNECTION_STRING has no port that is a number") from error
    credentials, at, host = parts.netloc.rpartition("@")
    encrypted = parts.scheme in ("https", "clickhouses") or port == 9440
    if port in _HTTP_PORTS:
        host = f"{host.rpartition(':')[0]}:{_HTTP_PORTS[port]}"
    return urlunsplit(("https" if encrypted else "http", credentials + at + host, parts.path, parts.query, ""))


class ClickHouse:
    """One database. Every method raises `UnavailableError` when it cannot be had or refuses, and can be tried again later.

    `ready` is set once its tables are up to date.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.ready = asyncio.Event()

    @classmethod
    def connect(cls, connection_string: str) -> ClickHouse:
        """By `CLICKHOUSE_CONNECTION_STRING`; `InvalidError` for what means nothing. Nothing is opened before the first question."""
        return cls(backend_for(connection_string))

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows; `{name:Type}` in `sql` stands for a parameter and is never text of the statement."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                rows: list[tuple[Any, ...]] = await self.backend.ask("query", sql, dict(parameters or {}))
        except TimeoutError as error:
            raise UnavailableError(f"ClickHouse did not answer within {_PATIENCE_SECONDS:g} seconds") from error
        return rows

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write rows; all of them or, after an error, perhaps some. Cancelled, they are written all the same, or lost with the process."""
        if rows:
            await self.backend.ask("insert", table, list(columns), as_lists(rows))

    async def command(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        await self.backend.ask("command", sql)

    async def start(self) -> None:
        """Whether it answers."""
        await self.query("SELECT 1")

    async def close(self) -> None:
        """Let go of it."""
        await self.backend.close()
