"""Nodes come and go as sources name them; one is lost only when nobody names it and it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.background import node_watcher
from sandbank.api.background.node_watcher import NodeWatcher
from sandbank.api.core.reconcile import NodeReconciler
from sandbank.domain.errors import UnavailableError


class Named:
    """What discovery says."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.is_away = False

    async def list(self) -> Sequence[str]:
        if self.is_away:
            raise UnavailableError("no source of nodes has answered yet")
        return list(self.addresses)


class Nodes(NodeReconciler):
    """Nodes by address that answer or do not, and what is done about them."""

    def __init__(self) -> None:
        self.answering: set[str] = set()
        self.passes: list[tuple[str, bool]] = []
        self.known: dict[str, bool] = {}
        self.lost: list[str] = []
        self.lose_errors = 0

    async def reconcile(self, address: str, *, adopt_at_once: bool = False) -> None:
        assert address in self.known
        self.passes.append((address, adopt_at_once))
        if address not in self.answering:
            raise UnavailableError("cannot be reached")

    async def lose(self, node_id: str) -> None:
        if self.lose_errors:
            self.lose_errors -= 1
            raise UnavailableError("the store is away")
        self.lost.append(node_id)

    def add(self, address: str) -> None:
        self.known[address] = True

    def retire(self, address: str) -> None:
        self.known[address] = False

    async def drop(self, address: str) -> str | None:
        del self.known[address]
        return f"node of {address}"


class World:
    def __init__(self) -> None:
        self.named, self.nodes = Named(), Nodes()
        self.said: list[str] = []
        self.watcher = NodeWatcher(self.named, self.nodes, self.nodes, lambda what, error: self.said.append(what))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name, seconds in (("_PERIOD_SECONDS", 0.01), ("_DISCOVERY_SECONDS", 0.01), ("_FIRST_PAUSE_SECONDS", 0.001), ("_GONE_SECONDS", 0.1)):
        monkeypatch.setattr(node_watcher, name, seconds)
    world = World()
    tasks = TaskGroup("test", lambda name, error: None)
    world.named.addresses = ["a:1", "b:1"]
    world.nodes.answering = {"a:1"}
    await world.watcher.first_pass()
    tasks.start("watcher", world.watcher.run())
    yield world
    await tasks.close()


async def test_the_first_pass_adopts_at_once_and_does_not_wait_for_ever(world: World) -> None:
    assert ("a:1", True) in world.nodes.passes
    assert world.said.count("node b:1") == 1


async def test_a_node_that_is_named_later_is_watched(world: World) -> None:
    world.named.addresses.append("c:1")
    world.nodes.answering.add("c:1")
    await world.until(lambda: ("c:1", False) in world.nodes.passes)


async def test_one_that_is_named_and_silent_is_kept(world: World) -> None:
    await asyncio.sleep(0.3)
    assert world.nodes.known == {"a:1": True, "b:1": True}
    assert world.nodes.lost == []


async def test_one_that_is_no_longer_named_gets_nothing_new_and_is_kept_while_it_answers(world: World) -> None:
    world.named.addresses.remove("a:1")
    await world.until(lambda: world.nodes.known.get("a:1") is False)
    await asyncio.sleep(0.3)
    assert "a:1" in world.nodes.known
    world.named.addresses.append("a:1")
    await world.until(lambda: world.nodes.known["a:1"])
    assert world.nodes.lost == []


async def test_one_that_is_neither_named_nor_answers_is_lost_when_the_store_can_hear_of_it(world: World) -> None:
    world.nodes.lose_errors = 2
    world.named.addresses.remove("a:1")
    world.nodes.answering.clear()
    await world.until(lambda: world.nodes.lost == ["node of a:1"])
    assert "a:1" not in world.nodes.known
    world.named.addresses.append("a:1")
    world.nodes.answering.add("a:1")
    await world.until(lambda: world.nodes.known.get("a:1", False))


async def test_an_outage_of_discovery_changes_nothing(world: World) -> None:
    world.named.is_away = True
    await asyncio.sleep(0.3)
    assert world.nodes.known == {"a:1": True, "b:1": True}
    assert world.said.count("discovery") == 1
