"""What is remembered of a request that may be sent twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyEntry:
    """One key of one team. `subject` is the ID of what the request makes, chosen before it is made; `claimed_at` in seconds since 1970,
    0 once whoever worked on it is known to be gone; `outcome` is the answer, once there is one."""

    fingerprint: str
    subject: str
    claimed_at: float
    outcome: str | None = None
