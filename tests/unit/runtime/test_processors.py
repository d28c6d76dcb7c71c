"""Processors are handed out evenly."""

from __future__ import annotations

import os

from sandbank.runtime.drivers.namespaces.processors import Processors


def test_the_least_taken_come_first() -> None:
    processors = Processors(range(4))
    assert [processors.choose(2), processors.choose(2), processors.choose(1)] == [(0, 1), (2, 3), (0,)]
    processors.release((2, 3))
    assert processors.choose(3) == (1, 2, 3)


def test_who_may_use_all_is_held_to_none() -> None:
    processors = Processors(range(2))
    assert processors.choose(2) == processors.choose(8) == ()
    assert processors.choose(1) == (0,)


def test_adopted_ones_count() -> None:
    available = sorted(os.sched_getaffinity(0))
    processors = Processors([*available, 10_000])
    assert processors.adopt(os.getpid()) == tuple(available)
    assert processors.choose(1) == (10_000,)
    assert processors.adopt(2**22 + 1) == ()
