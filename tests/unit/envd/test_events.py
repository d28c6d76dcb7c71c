"""Buffers of watched events stay within their bounds (data-plane contract §3.7)."""

from __future__ import annotations

import pytest

from sandbank.contracts.filesystem import FilesystemEvent
from sandbank.domain.errors import ExhaustedError, InternalError
from sandbank.envd.filesystem.events import MAX_PER_WATCH, EventBudget, EventBuffer


def event(number: int) -> FilesystemEvent:
    return FilesystemEvent(name=str(number))


async def test_events_are_taken_in_order_and_once() -> None:
    buffer = EventBuffer(EventBudget())
    for number in range(5):
        buffer.put(event(number))
    await buffer.wait()
    assert [one.name for one in buffer.take(3)] == ["0", "1", "2"]
    assert [one.name for one in buffer.take()] == ["3", "4"]
    assert buffer.take() == []


def test_the_error_comes_after_the_events() -> None:
    buffer = EventBuffer(EventBudget())
    for number in range(MAX_PER_WATCH + 5):
        buffer.put(event(number))
    assert len(buffer.take()) == MAX_PER_WATCH
    for _ in range(2):
        with pytest.raises(InternalError, match="overflow"):
            buffer.take()


def test_the_first_error_counts() -> None:
    buffer = EventBuffer(EventBudget())
    buffer.fail(ExhaustedError("first"))
    buffer.fail(InternalError("second"))
    with pytest.raises(ExhaustedError, match="first"):
        buffer.take()


def test_all_buffers_share_a_budget() -> None:
    budget = EventBudget(3)
    one, two = EventBuffer(budget), EventBuffer(budget)
    for number in range(2):
        one.put(event(number))
        two.put(event(number))
    assert (len(one.take()), len(two.take()), budget.left) == (2, 1, 3)
    assert two.error is not None
    one.put(event(9))
    one.close()
    assert budget.left == 3
