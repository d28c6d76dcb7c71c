"""Whatever happens during a teardown, every step is taken once, in reverse."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.aiokit.teardown import TeardownError, TeardownStack

Behaviour = Literal["plain", "quick", "slow", "fails", "hangs", "plain_fails"]
BEHAVIOURS: list[Behaviour] = ["plain", "quick", "slow", "fails", "hangs", "plain_fails"]


def push(stack: TeardownStack, done: list[int], index: int, behaviour: Behaviour) -> None:
    async def undo() -> None:
        done.append(index)
        if behaviour == "fails":
            raise OSError(index)
        if behaviour == "slow":
            for _ in range(3):
                await asyncio.sleep(0)
        if behaviour == "hangs":
            await asyncio.Event().wait()

    def plain() -> None:
        done.append(index)
        if behaviour == "plain_fails":
            raise OSError(index)

    stack.push(str(index), plain if behaviour.startswith("plain") else undo, timeout_seconds=0.001)


@given(
    steps=st.lists(st.sampled_from(BEHAVIOURS), max_size=8), cancel_after=st.lists(st.integers(0, 6), max_size=4), callers=st.integers(1, 3)
)
def test_every_step_once_in_reverse(steps: list[Behaviour], cancel_after: list[int], callers: int) -> None:
    async def scenario() -> None:
        done: list[int] = []
        stack = TeardownStack("test")
        for index, behaviour in enumerate(steps):
            push(stack, done, index, behaviour)
        closing = [asyncio.create_task(stack.close()) for _ in range(callers)]
        for rounds in cancel_after:
            for _ in range(rounds):
                await asyncio.sleep(0)
            closing[0].cancel()
        results = await asyncio.gather(*closing, return_exceptions=True)
        assert done == list(reversed(range(len(steps)))) or (cancel_after and callers == 1 and not done)
        if not done and steps:
            return  # cancelled before it began: the caller still has to close, see below
        failing = [str(index) for index in reversed(range(len(steps))) if steps[index] in ("fails", "hangs", "plain_fails")]
        for result in results[1:]:
            if failing:
                assert isinstance(result, TeardownError)
                assert [name for name, _ in result.failures] == failing
            else:
                assert result is None

    asyncio.run(scenario())


async def test_a_cancelled_caller_is_told_after_the_last_step() -> None:
    done: list[int] = []
    stack = TeardownStack("test")
    for index in range(3):
        push(stack, done, index, "slow")
    closing = asyncio.create_task(stack.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert done == [2, 1, 0]


async def test_failures_are_collected_with_their_steps() -> None:
    done: list[int] = []
    stack = TeardownStack("sandbox i1")
    push(stack, done, 0, "fails")
    push(stack, done, 1, "hangs")
    with pytest.raises(TeardownError, match=r"^sandbox i1: 1: TimeoutError.*; 0: OSError") as caught:
        await stack.close()
    assert [name for name, _ in caught.value.failures] == ["1", "0"]
    with pytest.raises(TeardownError):
        await stack.close()
    assert done == [1, 0]


async def test_nothing_is_pushed_onto_a_closed_stack() -> None:
    stack = TeardownStack("test")
    await stack.close()
    with pytest.raises(RuntimeError):
        stack.push("late", lambda: None)
