"""`IdempotencyStore` for a single process: a small SQLite file of its own, beside whatever database there is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sandbank.domain.errors import UnavailableError
from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.state.idempotency_store import KEPT_SECONDS

_KEPT_PER_TEAM = 10_000
_SWEEP_EVERY = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS idempotency_keys (
    team_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, subject TEXT NOT NULL,
    claimed_at REAL NOT NULL, kept_until REAL NOT NULL, outcome TEXT,
    PRIMARY KEY (team_id, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_kept_until ON idempotency_keys (kept_until);
CREATE INDEX IF NOT EXISTS idempotency_keys_team ON idempotency_keys (team_id, kept_until);
"""

T = TypeVar("T")


class LocalIdempotencyStore:
    """Keys in one file, or with no `path` in memory. It belongs to one process at a time; what an earlier one was at work on is over.

    Opened when first used. Calls run in threads, one after another; cancelling leaves a step done or not done.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._claims = 0

    async def claim(self, team_id: str, key: str, entry: IdempotencyEntry) -> IdempotencyEntry | None:
        """See `IdempotencyStore.claim`."""
        return await self._run(lambda connection: self._claim(connection, team_id, key, entry))

    async def settle(self, team_id: str, key: str, subject: str, outcome: str) -> None:
        """See `IdempotencyStore.settle`."""
        await self._run(
            lambda connection: connection.execute(
                "UPDATE idempotency_keys SET outcome = ? WHERE team_id = ? AND key = ? AND subject = ?", (outcome, team_id, key, subject)
            )
        )

    async def release(self, team_id: str, key: str, subject: str) -> None:
        """See `IdempotencyStore.release`."""
        await self._run(
            lambda connection: connection.execute(
                "DELETE FROM idempotency_keys WHERE team_id = ? AND key = ? AND subject = ? AND outcome IS NULL", (team_id, key, subject)
            )
        )

    async def close(self) -> None:
        """Let go of the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._lock:
                if self._connection is None:
                    self._connection = self._open()
                with self._connection:
                    return work(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"idempotency keys cannot be kept: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(":memory:" if self._path is None else self._path, timeout=5, check_same_thread=False)
        try:
            if self._path is not None:
                # Answers of requests are in it, with the tokens of sandboxes.
                self._path.chmod(0o600)
            # A commit survives a killed process, which is what the weaker `synchronous` promises.
            connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
            with connection:
                connection.execute("UPDATE idempotency_keys SET claimed_at = 0 WHERE outcome IS NULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _claim(self, connection: sqlite3.Connection, team_id: str, key: str, entry: IdempotencyEntry) -> IdempotencyEntry | None:
        now = entry.claimed_at
        self._claims += 1
        connection.execute("DELETE FROM idempotency_keys WHERE kept_until <= ?", (now,))
        if self._claims % _SWEEP_EVERY == 0:
            connection.execute(
                "DELETE FROM idempotency_keys WHERE team_id = ? AND kept_until <="
                " (SELECT kept_until FROM idempotency_keys WHERE team_id = ? ORDER BY kept_until DESC LIMIT 1 OFFSET ?)",
                (team_id, team_id, _KEPT_PER_TEAM),
            )
        row = connection.execute(
            "SELECT fingerprint, subject, claimed_at, outcome FROM idempotency_keys WHERE team_id = ? AND key = ?", (team_id, key)
        ).fetchone()
        if row is not None:
            return IdempotencyEntry(*row)
        connection.execute(
            "INSERT INTO idempotency_keys (team_id, key, fingerprint, subject, claimed_at, kept_until) VALUES (?, ?, ?, ?, ?, ?)",
            (team_id, key, entry.fingerprint, entry.subject, entry.claimed_at, now + KEPT_SECONDS),
        )
        return None
