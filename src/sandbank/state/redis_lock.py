"""A lock that all processes respect. One whose holder dies is free again after a minute."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.domain.errors import UnavailableError
from sandbank.state import redis_keys, redis_scripts
from sandbank.state.redis_connection import speaking
from sandbank.state.redis_notices import Notices

_HELD_MILLISECONDS = 60_000
_RENEW_SECONDS = 20.0


class Locks:
    """Locks by key."""

    def __init__(self, redis: Redis, notices: Notices) -> None:
        self._redis = redis
        self._notices = notices
        self._lock = redis.register_script(redis_scripts.LOCK)
        self._unlock = redis.register_script(redis_scripts.UNLOCK)
        self._hold = redis.register_script(redis_scripts.HOLD)
        self._tasks = TaskGroup("locks", lambda task, error: None)  # one that is not renewed runs out

    @asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        """Hold `key` for the block, waiting for it as long as it takes. `UnavailableError` where Redis cannot be asked."""
        token = uuid.uuid4().hex
        notice = f"{key}:notify"
        try:
            await self._take(key, token, notice)
        except BaseException:
            await finish(self._release(key, token, notice))  # it may be ours without our knowing
            raise
        renewal = self._tasks.start("renew", self._renew(key, token))
        try:
            yield
        finally:
            renewal.cancel()
            await finish(self._release(key, token, notice))

    async def _take(self, key: str, token: str, notice: str) -> None:
        while True:
            with speaking():
                if await self._lock(keys=[key], args=[token, _HELD_MILLISECONDS]):
                    return
            await self._notices.wait(notice)

    async def _release(self, key: str, token: str, notice: str) -> None:
        with contextlib.suppress(UnavailableError), speaking():
            await self._unlock(keys=[key], args=[token])
            await self._redis.publish(redis_keys.NOTIFY, notice)

    async def _renew(self, key: str, token: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(UnavailableError), speaking():
                await self._hold(keys=[key], args=[token, _HELD_MILLISECONDS])

    async def close(self) -> None:
        """Renew nothing any more."""
        await self._tasks.close()
