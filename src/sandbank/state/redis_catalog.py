"""The routing catalog in Redis: `sandbox:catalog:<id>` (contract templates-and-data §7, data-plane §7.2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from sandbank.state.catalog import CatalogEntry
from sandbank.state.redis_connection import speaking

_PREFIX = "sandbox:catalog:"
# Longer than any plan lets a sandbox run: whoever ends it removes its route; this only bounds what a lost removal leaves.
_GRACE = timedelta(minutes=10)

# KEYS: entry. ARGV: execution. A newer execution's route stays.
_REMOVE = """
local entry = redis.call('GET', KEYS[1])
if not entry or cjson.decode(entry).execution_id ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisCatalog:
    """See `sandbank.state.catalog.Catalog`; `UnavailableError` while Redis cannot be asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._remove = redis.register_script(_REMOVE)

    async def put(self, entry: CatalogEntry) -> None:
        """See `Catalog.put`."""
        document = {
            "orchestrator_id": entry.orchestrator_id,
            "orchestrator_ip": entry.orchestrator_ip,
            "execution_id": entry.execution_id,
            "sandbox_started_at": entry.sandbox_started_at.isoformat().replace("+00:00", "Z"),
            "sandbox_max_length_in_hours": entry.max_length_hours,
        }
        left = entry.sandbox_started_at + timedelta(hours=entry.max_length_hours) + _GRACE - datetime.now(UTC)
        with speaking():
            await self._redis.set(_PREFIX + entry.sandbox_id, json.dumps(document), ex=max(int(left.total_seconds()), 60))

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        """See `Catalog.find`."""
        with speaking():
            text = await self._redis.get(_PREFIX + sandbox_id)
        if text is None:
            return None
        document = json.loads(text)
        return CatalogEntry(
            sandbox_id,
            document["execution_id"],
            document["orchestrator_id"],
            document["orchestrator_ip"],
            datetime.fromisoformat(document["sandbox_started_at"]),
            int(document["sandbox_max_length_in_hours"]),
        )

    async def remove(self, sandbox_id: str, execution_id: str) -> None:
        """See `Catalog.remove`."""
        with speaking():
            await self._remove(keys=[_PREFIX + sandbox_id], args=[execution_id])
