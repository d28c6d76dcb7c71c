"""How fast hostile input may come in."""

from __future__ import annotations


class Pace:
    """`rate` units a second on average, `burst` at once; who asks for more is told how long to wait first."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst_seconds = burst / rate
        self._due = 0.0

    def delay(self, units: float, now: float) -> float:
        """Seconds to wait before `units` more are taken; they count as taken. Those who wait do so one after another."""
        self._due = max(self._due, now - self._burst_seconds) + units / self._rate
        return max(0.0, self._due - now)
