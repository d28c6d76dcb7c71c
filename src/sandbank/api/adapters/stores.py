"""What the API remembers of running sandboxes: in this process, or in Redis for all of its replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sandbank.state.catalog import Catalog, MemoryCatalog
from sandbank.state.idempotency_store import IdempotencyStore
from sandbank.state.local_idempotency_store import LocalIdempotencyStore
from sandbank.state.memory_rate_limit_store import MemoryRateLimitStore
from sandbank.state.memory_sandbox_store import MemorySandboxStore
from sandbank.state.rate_limit_store import RateLimitStore
from sandbank.state.redis_catalog import RedisCatalog
from sandbank.state.redis_connection import connect
from sandbank.state.redis_idempotency_store import RedisIdempotencyStore
from sandbank.state.redis_rate_limit_store import RedisRateLimitStore
from sandbank.state.redis_sandbox_store import RedisSandboxStore
from sandbank.state.sandbox_store import SandboxStore


@dataclass(frozen=True, slots=True)
class Stores:
    """All of one kind. `is_shared`: other processes write there, too."""

    sandboxes: SandboxStore
    catalog: Catalog
    idempotency: IdempotencyStore
    rate_limits: RateLimitStore
    is_shared: bool
    close: Callable[[], Awaitable[None]]


def choose_stores(redis_url: str | None, data_dir: Path, catalog: MemoryCatalog | None) -> Stores:
    """By `REDIS_URL`, if it is set; `catalog` is one that a client proxy in this process shares. Nothing is opened yet."""
    if redis_url is None:
        idempotency = LocalIdempotencyStore(data_dir / "idempotency.db")
        return Stores(
            MemorySandboxStore(),
            catalog if catalog is not None else MemoryCatalog(),
            idempotency,
            MemoryRateLimitStore(),
            is_shared=False,
            close=idempotency.close,
        )
    redis = connect(redis_url)
    sandboxes = RedisSandboxStore(redis)

    async def close() -> None:
        await sandboxes.close()
        await redis.aclose()

    return Stores(
        sandboxes,
        RedisCatalog(redis),
        RedisIdempotencyStore(redis),
        RedisRateLimitStore(redis),
        is_shared=True,
        close=close,
    )
