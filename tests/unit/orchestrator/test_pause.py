"""Pausing and resuming on a node, on a driver in memory (contract data-plane §9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbank.domain.errors import ConflictError, NotFoundError, UnavailableError
from tests.unit.orchestrator.memory_driver import MemoryDriver
from tests.unit.orchestrator.node import Node, new_order


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node(MemoryDriver())
    await node.start()
    yield node
    await node.stop()
    node.check_agrees()


async def test_a_paused_sandbox_is_off_the_list_and_comes_back_by_its_build(node: Node) -> None:
    sandbox = await node.creation.create(new_order())
    await node.pausing.pause(sandbox.sandbox_id, "snapshot-1")
    node.check_agrees()
    assert not node.inventory.running
    order = new_order(sandbox_id=sandbox.sandbox_id, build_id="snapshot-1", execution_id="second", resumes=True)
    resumed = await node.creation.create(order)
    assert resumed.execution_id == "second"
    assert node.events.of(sandbox.sandbox_id) == ["created", "paused", "resumed"]


async def test_twenty_at_once_pause_it_once(node: Node) -> None:
    sandbox = await node.creation.create(new_order())
    node.driver.gate.clear()
    calls = [asyncio.create_task(node.pausing.pause(sandbox.sandbox_id, "snapshot")) for _ in range(20)]
    await asyncio.sleep(0)
    assert sandbox.sandbox_id not in node.routes.opened
    with pytest.raises(ConflictError):
        await node.pausing.pause(sandbox.sandbox_id, "another")
    node.driver.gate.set()
    await asyncio.gather(*calls)
    assert node.driver.pauses == 1


async def test_a_pause_goes_on_when_its_caller_gives_up_and_is_answered_again(node: Node) -> None:
    sandbox = await node.creation.create(new_order())
    node.driver.gate.clear()
    call = asyncio.create_task(node.pausing.pause(sandbox.sandbox_id, "snapshot"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})
    node.driver.gate.set()
    await node.pausing.pause(sandbox.sandbox_id, "snapshot")
    await node.pausing.pause(sandbox.sandbox_id, "snapshot")
    assert (node.driver.pauses, node.events.of(sandbox.sandbox_id)) == (1, ["created", "paused"])


@pytest.mark.parametrize("error", [ConflictError("a process uses io_uring"), UnavailableError("the disk is full")])
async def test_what_cannot_be_saved_runs_on_and_is_routable(node: Node, error: ConflictError | UnavailableError) -> None:
    sandbox = await node.creation.create(new_order())
    node.driver.pause_failure = error
    with pytest.raises(type(error), match=error.message):
        await node.pausing.pause(sandbox.sandbox_id, "snapshot")
    node.check_agrees()
    assert sandbox.sandbox_id in node.inventory.running


async def test_a_kill_amid_a_pause_wins(node: Node) -> None:
    sandbox = await node.creation.create(new_order())
    node.driver.gate.clear()
    call = asyncio.create_task(node.pausing.pause(sandbox.sandbox_id, "snapshot"))
    await asyncio.sleep(0)
    node.removal.delete(sandbox.sandbox_id, "request")
    await node.inventory.ending[sandbox.sandbox_id]
    node.driver.gate.set()
    with pytest.raises(NotFoundError):
        await call


async def test_nobody_pauses_or_resumes_what_there_is_not(node: Node) -> None:
    with pytest.raises(NotFoundError):
        await node.pausing.pause("inobodyknows", "snapshot")
    with pytest.raises(ConflictError, match="sandbox files for"):
        await node.creation.create(new_order(build_id="snapshot", resumes=True))
