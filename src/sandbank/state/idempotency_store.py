"""What is remembered of requests that may be sent twice (sdk-latest contract §1.2)."""

from __future__ import annotations

from typing import Protocol

from sandbank.domain.idempotency import IdempotencyEntry

KEPT_SECONDS = 24 * 3600
"""How long a key means the same request."""


class IdempotencyStore(Protocol):
    """Entries by team and key, kept for a day. What `settle` returned from survives the process. All raise `UnavailableError`."""

    async def claim(self, team_id: str, key: str, entry: IdempotencyEntry) -> IdempotencyEntry | None:
        """Take the key; the entry of whoever took it before, or `None` if it is ours."""

    async def settle(self, team_id: str, key: str, subject: str, outcome: str) -> None:
        """Note the outcome of the claim with this subject, if it is still there."""

    async def release(self, team_id: str, key: str, subject: str) -> None:
        """Forget the claim with this subject unless it is settled: the key may be used again."""
