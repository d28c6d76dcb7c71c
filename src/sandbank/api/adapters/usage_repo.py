"""Counters in SQL, collected in memory so that no request waits for them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.db.models_accounts import TeamApiKey
from sandbank.db.models_templates import Env


class UsageRepo:
    """How often templates were spawned and when keys were last used. What was not flushed is lost with the process: a second of it."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._spawns: Counter[str] = Counter()
        self._spawned_at: dict[str, datetime] = {}
        self._keys: dict[str, datetime] = {}

    def template_spawned(self, template_id: str) -> None:
        """Count a new sandbox."""
        self._spawns[template_id] += 1
        self._spawned_at[template_id] = datetime.now(UTC)

    def key_used(self, key_hash: str) -> None:
        """Note an API key's use."""
        self._keys[key_hash] = datetime.now(UTC)

    async def flush(self) -> None:
        """Write what was collected, in one transaction; it is kept for the next time if that fails."""
        if not self._spawns and not self._keys:
            return
        spawns, spawned_at, keys = self._spawns, self._spawned_at, self._keys
        self._spawns, self._spawned_at, self._keys = Counter(), {}, {}
        try:
            with translated():
                async with self._sessions.begin() as session:
                    for template_id, count in spawns.items():
                        values = {"spawn_count": Env.spawn_count + count, "last_spawned_at": spawned_at[template_id]}
                        await session.execute(update(Env).where(Env.id == template_id).values(values))
                    for key_hash, at in keys.items():
                        await session.execute(update(TeamApiKey).where(TeamApiKey.api_key_hash == key_hash).values(last_used=at))
        except BaseException:
            self._spawns.update(spawns)
            self._spawned_at = spawned_at | self._spawned_at
            self._keys = keys | self._keys
            raise
