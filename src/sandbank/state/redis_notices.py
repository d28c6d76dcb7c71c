"""Telling other processes that something has changed, by one channel and one subscription per process."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbank.aiokit.tasks import TaskGroup
from sandbank.state import redis_keys

_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.5

_log = structlog.get_logger("sandbank.state")


class Notices:
    """Wakes those who wait for a key. A notice may be lost with the connection, so nobody waits for it alone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks = TaskGroup("notices", lambda task, error: _log.error("failed", task=task, exc_info=error))
        self._listening: asyncio.Task[None] | None = None

    async def wait(self, key: str, seconds: float = _LOOK_SECONDS) -> None:
        """Return at a notice for `key`, or after `seconds`: then look yourself."""
        if self._listening is None or self._listening.done():
            self._listening = self._tasks.start("listen", self._listen())
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.close()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(redis_keys.NOTIFY)
                    while True:
                        message = await subscription.get_message(timeout=None)
                        if message is not None:
                            self._wake(message["data"].decode(errors="replace"))
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_SECONDS)

    def _wake(self, key: str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()
