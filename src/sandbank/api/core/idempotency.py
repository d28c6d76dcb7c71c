"""`Idempotency-Key`: the same request sent twice makes one sandbox (sdk-latest contract §1.2)."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbank.domain.errors import ConflictError, InvalidError
from sandbank.domain.sandbox import Sandbox

_KEY = re.compile(r"[a-z0-9-]{1,255}")
_KEPT_SECONDS = 24 * 3600.0
_KEPT_PER_TEAM = 10_000


class IdempotencyMismatchError(ConflictError):
    """The key was used for another request."""


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    expires_at: float
    sandbox: Sandbox | None = None


class IdempotentCreates:
    """Remembers what each key of each team made, in this process, for a day; of each team the newest ones."""

    def __init__(self) -> None:
        self._teams: dict[str, OrderedDict[str, _Entry]] = {}

    async def once(self, team_id: str, key: str, fingerprint: bytes, create: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
        """What `create` returns, or returned before for this key.

        `IdempotencyMismatchError` for another `fingerprint`, `ConflictError` while the first request is still at work. One that failed
        is forgotten, so the key can be used again.
        """
        if _KEY.fullmatch(key) is None:
            raise InvalidError("validation error: parameter Idempotency-Key in header must match [a-z0-9-]{1,255}")
        now = asyncio.get_running_loop().time()
        entries = self._teams.setdefault(team_id, OrderedDict())
        self._sweep(entries, now)
        entry = entries.get(key)
        if entry is not None:
            if entry.fingerprint != fingerprint:
                raise IdempotencyMismatchError(
                    "this Idempotency-Key was used for a different request", error_code="idempotency_request_mismatch", should_retry=False
                )
            if entry.sandbox is None:
                raise ConflictError("a request with this Idempotency-Key is in progress", error_code="idempotency_in_progress")
            return entry.sandbox
        entry = entries[key] = _Entry(fingerprint, now + _KEPT_SECONDS)
        try:
            entry.sandbox = await create()
        except BaseException:
            entries.pop(key, None)
            raise
        return entry.sandbox

    @staticmethod
    def _sweep(entries: OrderedDict[str, _Entry], now: float) -> None:
        while entries:
            key, entry = next(iter(entries.items()))
            if entry.expires_at > now and len(entries) <= _KEPT_PER_TEAM:
                return
            del entries[key]
