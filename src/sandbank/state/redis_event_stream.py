"""The feed that webhooks are made from (contract templates-and-data §7, data-plane §12.2)."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from sandbank.state import redis_keys
from sandbank.state.redis_connection import speaking

_KEPT = 10_000


class RedisEventStream:
    """Takes events of those teams that have webhooks; about the last 10,000 of all teams stay, read or not."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, events: Sequence[tuple[str, str]]) -> None:
        """Team and JSON of each, in this order. `UnavailableError` when Redis does not answer: perhaps some were taken all the same."""
        teams = sorted({team_id for team_id, _ in events})
        with speaking():
            async with self._redis.pipeline(transaction=False) as asking:
                for team_id in teams:
                    asking.exists(redis_keys.webhooks(team_id))
                interested = {team_id for team_id, exists in zip(teams, await asking.execute(), strict=True) if exists}
            wanted = [payload for team_id, payload in events if team_id in interested]
            if not wanted:
                return
            async with self._redis.pipeline(transaction=False) as adding:
                for payload in wanted:
                    adding.xadd(redis_keys.EVENTS, {"payload": payload}, maxlen=_KEPT, approximate=True)
                await adding.execute()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()
