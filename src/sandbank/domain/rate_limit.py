"""Rate limits by the generic cell rate algorithm: one number per limit, no buckets to fill (rest-api contract §5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`rate` requests per `period_seconds`, of which `burst` may come at once."""

    rate: int
    burst: int
    period_seconds: float

    def __post_init__(self) -> None:
        if self.rate < 1 or self.burst < 1 or not 0 < self.period_seconds <= 86_400:
            raise InvalidError("a rate limit needs a rate and a burst of at least 1 and a period of up to a day")

    @property
    def interval_seconds(self) -> float:
        """What one request costs."""
        return self.period_seconds / self.rate


@dataclass(frozen=True, slots=True)
class RateVerdict:
    """Whether a request may pass, how many more could follow at once, and when things change, in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    reset_after_seconds: float
    retry_after_seconds: float = 0.0


def judge(limit: RateLimit, due_at: float, now: float) -> tuple[RateVerdict, float]:
    """The verdict on one request, and the new `due_at`: the moment by which everything that has passed is paid for.

    A request that is refused costs nothing.
    """
    paid_at = max(due_at, now)
    tolerance = limit.interval_seconds * limit.burst
    after = paid_at + limit.interval_seconds
    if after - tolerance > now + 1e-9:
        return RateVerdict(False, limit.burst, 0, paid_at - now, after - tolerance - now), due_at
    remaining = math.floor((tolerance - (after - now)) / limit.interval_seconds + 1e-6)
    return RateVerdict(True, limit.burst, max(0, remaining), after - now), after
