"""Which processors a sandbox's processes start on: as many as it was promised, the least taken first (ADR 0005)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable


class Processors:
    """Counts how many sandboxes are on each. A sandbox that may use all of them is held to none."""

    def __init__(self, available: Iterable[int] | None = None) -> None:
        self._taken: Counter[int] = Counter(dict.fromkeys(os.sched_getaffinity(0) if available is None else available, 0))

    def choose(self, count: int) -> tuple[int, ...]:
        """Take `count`; empty for no restriction. Give them back with `release`."""
        if count >= len(self._taken):
            return ()
        chosen = tuple(sorted(sorted(self._taken, key=lambda number: (self._taken[number], number))[:count]))
        self._taken.update(chosen)
        return chosen

    def adopt(self, pid: int) -> tuple[int, ...]:
        """Take those that an adopted sandbox, known by its first process, is on already."""
        try:
            numbers = os.sched_getaffinity(pid)
        except ProcessLookupError:
            return ()
        known = tuple(number for number in numbers if number in self._taken)
        if len(known) == len(self._taken):
            return ()
        self._taken.update(known)
        return known

    def release(self, numbers: Iterable[int]) -> None:
        """They are free again."""
        self._taken.subtract(numbers)
