"""Whether a client is still there: it is asked when it has been silent, and given up when it neither answers nor takes what it is sent."""

from __future__ import annotations

import asyncio
import math

from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.progress import acknowledged_bytes


class Liveness:
    """Times are the loop's."""

    __slots__ = ("_asked_at", "_heard_at", "_limits", "_taken", "_transport")

    def __init__(self, transport: asyncio.Transport, limits: ProxyLimits, now: float) -> None:
        self._transport = transport
        self._limits = limits
        self._heard_at = now
        self._asked_at = math.inf
        self._taken = 0

    def heard(self, now: float) -> None:
        """Something came."""
        self._heard_at = now
        self._asked_at = math.inf

    def should_ask(self, now: float) -> bool:
        """Whether to send a PING now; it counts as sent (contract data-plane §7: read-idle ping)."""
        if self._asked_at != math.inf or now - self._heard_at <= self._limits.ping_idle_seconds:
            return False
        self.expect(now)
        return True

    def expect(self, now: float) -> None:
        """From now on the client is to answer or to go."""
        self._asked_at = now
        self._taken = acknowledged_bytes(self._transport)

    def is_lost(self, now: float, patience_seconds: float) -> bool:
        """Whether what was expected is overdue. It is not while a slow line still carries what was sent before."""
        if now - self._asked_at <= patience_seconds:
            return False
        taken = acknowledged_bytes(self._transport)
        if taken <= self._taken:
            return True
        self._taken = taken
        self._asked_at = now
        return False
