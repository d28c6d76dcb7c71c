"""`RateLimitStore` in Redis, for several API processes (templates contract §7)."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbank.domain.errors import UnavailableError
from sandbank.domain.rate_limit import RateLimit, RateVerdict

# `domain.rate_limit.judge` on the server's clock, in microseconds. The key lives for as long as it means anything.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
local paid = math.max(due, now)
local after = paid + interval
local wait = after - interval * burst - now
if wait > 0 then
  return {0, 0, string.format('%.0f', paid - now), string.format('%.0f', wait)}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return {1, math.floor(-wait / interval), string.format('%.0f', after - now), '0'}
"""
_PREFIX = "rate:"


class RedisRateLimitStore:
    """Counters that all processes share. Nothing is read back from a key that is not there, so losing Redis only loses counts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)

    async def take(self, key: str, limit: RateLimit) -> RateVerdict:
        """See `RateLimitStore.take`."""
        interval = max(1, round(limit.interval_seconds * 1_000_000))
        try:
            allowed, remaining, reset, wait = await self._take(keys=[_PREFIX + key], args=[interval, limit.burst])
        except (RedisError, OSError) as error:
            raise UnavailableError("rate limits cannot be counted: Redis does not answer") from error
        return RateVerdict(bool(allowed), limit.burst, int(remaining), int(reset) / 1e6, int(wait) / 1e6)
