"""The connection to Redis, and its failures as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from sandbank.domain.errors import InvalidError, UnavailableError

_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_CHECK_SECONDS = 15
_CONNECTIONS = 256


def connect(url: str) -> Redis:
    """A client for `REDIS_URL`: `redis://…`, `rediss://…`, `unix://…`, or `host:port` as in E2B's settings. Nothing is opened yet.

    `InvalidError` for what means nothing. A connection that breaks is opened again once by the call that notices.
    While all of them are in use, calls wait for one.
    """
    text = url if "://" in url else f"redis://{url}"
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            text,
            timeout=_SECONDS,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            health_check_interval=_CHECK_SECONDS,
            max_connections=_CONNECTIONS,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 1),
            retry_on_error=[RedisConnectionError],
        )
    except ValueError as error:
        raise InvalidError(
            f"REDIS_URL must be redis://[user:password@]host:port/database, rediss://…, unix://… or host:port: {error}"
        ) from error
    return Redis.from_pool(pool)


@contextmanager
def speaking() -> Iterator[None]:
    """What the library raises in the block becomes `UnavailableError`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise UnavailableError(f"Redis does not answer: {error}" if str(error) else "Redis does not answer") from error


def plain(value: Any) -> str:
    """A key or value as text; all of ours are."""
    return value.decode() if isinstance(value, bytes) else str(value)
