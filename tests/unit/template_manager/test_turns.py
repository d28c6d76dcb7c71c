"""Builds take turns, and no team has all of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from sandbank.template_manager.core.turns import Turns


class _Crowd:
    """Builds that run until they are let go."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.running: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    async def build(self, name: str, team: str) -> None:
        end = self.ends[name] = asyncio.Event()
        async with self._turns.take(team):
            self.running.append(name)
            await end.wait()
            self.running.remove(name)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("at_once", "of_one"), [(1, 1), (2, 1), (4, 3)])
async def test_one_team_alone_leaves_a_turn_for_others(at_once: int, of_one: int) -> None:
    crowd = _Crowd(Turns(at_once))
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(crowd.build(f"a{number}", "a"))
        await _settle()
        assert len(crowd.running) == of_one
        group.create_task(crowd.build("b", "b"))
        await _settle()
        assert ("b" in crowd.running) == (at_once > 1)
        while crowd.running:
            crowd.ends[crowd.running[0]].set()
            await _settle()


async def test_whose_team_has_fewer_comes_first() -> None:
    crowd = _Crowd(Turns(3))
    async with asyncio.TaskGroup() as group:
        for name, team in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("c1", "c"), ("b2", "b")):
            group.create_task(crowd.build(name, team))
            await _settle()
        assert crowd.running == ["a1", "a2", "b1"]
        crowd.ends["a1"].set()
        await _settle()
        assert crowd.running == ["a2", "b1", "c1"]
        while crowd.running:
            crowd.ends[crowd.running[0]].set()
            await _settle()


async def test_who_gives_up_takes_no_turn() -> None:
    turns = Turns(1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.take("a"))
        waiting = asyncio.ensure_future(turns.take("b").__aenter__())
        await _settle()
        waiting.cancel()
        await asyncio.wait({waiting})
    async with asyncio.timeout(1), turns.take("c"):
        pass
