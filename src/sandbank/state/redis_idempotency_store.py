"""`IdempotencyStore` in Redis, for several API processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from sandbank.domain.errors import UnavailableError
from sandbank.domain.idempotency import IdempotencyEntry
from sandbank.state.idempotency_store import KEPT_SECONDS

# A claim whose answer was lost with the connection is made again, and is still ours: each has a mark of its own.
_CLAIM = """
local taken = redis.call('GET', KEYS[1])
if taken == ARGV[1] then return false end
if taken then return taken end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""
_SETTLE = """
local taken = redis.call('GET', KEYS[1])
if not taken then return 0 end
local entry = cjson.decode(taken)
if entry.subject ~= ARGV[1] then return 0 end
entry.outcome = ARGV[2]
redis.call('SET', KEYS[1], cjson.encode(entry), 'KEEPTTL')
return 1
"""
_RELEASE = """
local taken = redis.call('GET', KEYS[1])
if not taken then return 0 end
local entry = cjson.decode(taken)
if entry.subject ~= ARGV[1] or entry.outcome then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisIdempotencyStore:
    """Keys that all processes share. How much survives the loss of Redis is Redis's own configuration."""

    def __init__(self, redis: Redis) -> None:
        self._claim = redis.register_script(_CLAIM)
        self._settle = redis.register_script(_SETTLE)
        self._release = redis.register_script(_RELEASE)

    async def claim(self, team_id: str, key: str, entry: IdempotencyEntry) -> IdempotencyEntry | None:
        """See `IdempotencyStore.claim`."""
        fields = {"fingerprint": entry.fingerprint, "subject": entry.subject, "claimed_at": entry.claimed_at}
        text = json.dumps(fields | {"claim": uuid.uuid4().hex})
        taken = await self._call(self._claim, team_id, key, [text, KEPT_SECONDS])
        if not taken:
            return None
        fields = json.loads(taken)
        return IdempotencyEntry(fields["fingerprint"], fields["subject"], float(fields["claimed_at"]), fields.get("outcome"))

    async def settle(self, team_id: str, key: str, subject: str, outcome: str) -> None:
        """See `IdempotencyStore.settle`."""
        await self._call(self._settle, team_id, key, [subject, outcome])

    async def release(self, team_id: str, key: str, subject: str) -> None:
        """See `IdempotencyStore.release`."""
        await self._call(self._release, team_id, key, [subject])

    async def _call(self, script: AsyncScript, team_id: str, key: str, arguments: Sequence[str | int]) -> Any:
        try:
            return await script(keys=[f"idempotency:{{{team_id}}}:{key}"], args=arguments)
        except (RedisError, OSError) as error:
            raise UnavailableError("idempotency keys cannot be kept: Redis does not answer") from error
