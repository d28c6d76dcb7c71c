"""How much of each rate limit is used."""

from __future__ import annotations

from typing import Protocol

from sandbank.domain.rate_limit import RateLimit, RateVerdict


class RateLimitStore(Protocol):
    """One counter per key, shared by all who use the same store."""

    async def take(self, key: str, limit: RateLimit) -> RateVerdict:
        """Count one request, unless it exceeds the limit; `UnavailableError` when the counters cannot be had."""
