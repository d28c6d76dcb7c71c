"""`RateLimitStore` for a single process."""

from __future__ import annotations

import time
from collections.abc import Callable

from sandbank.domain.rate_limit import RateLimit, RateVerdict, judge

_SWEEP_AT = 4096


class MemoryRateLimitStore:
    """Counters of a single process. What is paid for is forgotten, so that only busy keys take room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at: dict[str, float] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        return len(self._due_at)

    async def take(self, key: str, limit: RateLimit) -> RateVerdict:
        """See `RateLimitStore.take`."""
        now = self._clock()
        verdict, self._due_at[key] = judge(limit, self._due_at.get(key, now), now)
        if len(self._due_at) >= self._sweep_at:
            self._due_at = {key: due_at for key, due_at in self._due_at.items() if due_at > now}
            # Or a full table would be swept for each request.
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._due_at))
        return verdict
