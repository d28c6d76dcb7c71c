"""Sandboxes of templates that start with something: it runs when the create is answered (templates contract §1.10, §15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbank.artifacts.builds import StartCommand, memory_name
from sandbank.domain.errors import InternalError, InvalidError
from sandbank.orchestrator.core.spares import SparesWish
from tests.unit.orchestrator.memory_driver import MemoryDriver
from tests.unit.orchestrator.node import BUILD, Node, new_order

START = StartCommand("serve", "true")


@pytest.fixture
def node() -> Node:
    node = Node(MemoryDriver())
    node.builds.published[BUILD.build_id] = replace(BUILD, start=START)
    return node


async def test_it_goes_on_from_the_memory_of_the_build(node: Node) -> None:
    await node.start()
    seed = await node.creation.create(new_order())
    await node.driver.checkpoint(seed.sandbox_id, memory_name(BUILD.build_id))
    node.starts.started.clear()
    sandbox = await node.creation.create(new_order())
    assert node.driver.kernel.sandboxes[sandbox.sandbox_id].snapshot_id == memory_name(BUILD.build_id)
    assert node.starts.started == []
    await node.stop()


async def test_without_memory_it_is_started_and_awaited(node: Node) -> None:
    await node.start()
    sandbox = await node.creation.create(new_order())
    assert node.starts.started == [(sandbox.sandbox_id, "serve")]
    assert node.driver.kernel.sandboxes[sandbox.sandbox_id].snapshot_id is None
    await node.stop()


async def test_with_volumes_it_is_started_among_them(node: Node) -> None:
    await node.start()
    seed = await node.creation.create(new_order())
    await node.driver.checkpoint(seed.sandbox_id, memory_name(BUILD.build_id))
    node.starts.started.clear()
    sandbox = await node.creation.create(new_order(volumes=(("volume", "/data"),)))
    assert node.driver.kernel.sandboxes[sandbox.sandbox_id].snapshot_id is None
    assert node.starts.started == [(sandbox.sandbox_id, "serve")]
    await node.stop()


async def test_memory_that_others_have_is_brought_here(node: Node) -> None:
    await node.start()
    seed = await node.creation.create(new_order())
    node.driver.kernel.shared[memory_name(BUILD.build_id)] = node.driver.kernel.sandboxes[seed.sandbox_id]
    node.starts.started.clear()
    await node.creation.create(new_order())
    assert node.starts.started == []
    await node.stop()


async def test_a_start_that_fails_fails_the_create_and_leaves_nothing(node: Node) -> None:
    node.starts.failure = InvalidError("start command failed: exit status 3")
    await node.start()
    with pytest.raises(InternalError, match="start command failed: exit status 3"):
        await node.creation.create(new_order())
    await node.stop()
    node.check_agrees()


async def test_a_build_goes_with_its_memory(node: Node) -> None:
    await node.start()
    seed = await node.creation.create(new_order())
    await node.driver.checkpoint(seed.sandbox_id, memory_name(BUILD.build_id))
    await node.pausing.forget(BUILD.build_id)
    assert node.builds.find(BUILD.build_id) is None
    assert not node.driver.has_snapshot(memory_name(BUILD.build_id))
    assert node.artifacts.forgotten == [BUILD.build_id, memory_name(BUILD.build_id)]
    await node.stop()


async def test_as_many_are_made_ahead_as_are_wanted_of_what_is_used(node: Node) -> None:
    node.builds.published[BUILD.build_id] = replace(BUILD, start=START)
    await node.start()
    seed = await node.creation.create(new_order(template_id="tpl"))
    await node.driver.checkpoint(seed.sandbox_id, memory_name(BUILD.build_id))
    await node.creation.create(new_order(template_id="tpl"))
    await node.tasks.drain(5)
    assert [spec.snapshot_id for spec in node.driver.spares] == [memory_name(BUILD.build_id)] * 2
    await node.stop()


@pytest.mark.parametrize(
    ("text", "template", "wanted"), [("0", "a", 0), ("2", "a", 2), ("a=3", "a", 3), ("a=3", "b", 0), ("1, a=3", "b", 1), ("", "a", 0)]
)
def test_how_many_are_wanted_is_said_for_all_or_by_template(text: str, template: str, wanted: int) -> None:
    assert SparesWish.parse(text).of(template) == wanted


@pytest.mark.parametrize("text", ["many", "a=", "a=-1", "-1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="how many sandboxes"):
        SparesWish.parse(text)
