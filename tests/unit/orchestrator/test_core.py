"""The node's decisions, on a driver in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sandbank.domain.errors import ConflictError, ExhaustedError, NotFoundError, UnavailableError
from sandbank.orchestrator.core import removal
from sandbank.orchestrator.core.overdue import list_overdue
from sandbank.orchestrator.core.sandbox import MIN_FREE_DISK_MIB, RunningSandbox
from sandbank.orchestrator.core.status import NodeStatus, StatusBoard
from sandbank.orchestrator.core.update import move_end
from tests.unit.orchestrator.memory_driver import Kernel, MemoryDriver
from tests.unit.orchestrator.node import FakeClock, MemoryRecords, Node, new_order


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node(MemoryDriver())
    await node.start()
    yield node
    await node.stop()
    node.check_agrees()


async def in_driver(node: Node, count: int) -> None:
    """Return when that many creates are inside the driver."""
    for _ in range(1000):
        if node.driver.creating == count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{node.driver.creating} instead of {count}")


async def test_create_makes_a_recorded_routable_listed_sandbox(node: Node) -> None:
    order = new_order(env_vars={"BOTH": "request"}, access_token="secret", lifetime=timedelta(minutes=7))
    sandbox = await node.creation.create(order)
    assert sandbox.started_at == node.clock.now
    assert sandbox.end_at == node.clock.now + timedelta(minutes=7)
    assert node.inventory.running == {order.sandbox_id: sandbox}
    spec = node.driver.kernel.sandboxes[order.sandbox_id]
    assert spec.init.env_vars == {"FROM": "build", "BOTH": "request"}
    assert spec.init.access_token == "secret"
    assert spec.limits.disk_mib == 1024 - 400
    node.check_agrees()


async def test_times_count_from_the_end_of_the_boot(node: Node) -> None:
    node.driver.gate.clear()
    creating = asyncio.create_task(node.creation.create(new_order()))
    await in_driver(node, 1)
    node.clock.now += timedelta(seconds=3)
    node.driver.gate.set()
    assert (await creating).started_at == node.clock.now


async def test_no_token_stays_no_token_and_small_disks_leave_room(node: Node) -> None:
    order = new_order(disk_mib=100)
    await node.creation.create(order)
    spec = node.driver.kernel.sandboxes[order.sandbox_id]
    assert spec.init.access_token is None
    assert spec.limits.disk_mib == MIN_FREE_DISK_MIB


async def test_missing_build(node: Node) -> None:
    order = new_order(build_id="gone")
    with pytest.raises(ConflictError, match=f"sandbox files for '{order.sandbox_id}' not found"):
        await node.creation.create(order)


@pytest.mark.parametrize("status", [NodeStatus.DRAINING, NodeStatus.UNHEALTHY, NodeStatus.STANDBY])
async def test_only_a_healthy_node_takes_sandboxes_but_all_serve_theirs(node: Node, status: NodeStatus) -> None:
    order = new_order()
    await node.creation.create(order)
    node.status.change(status)
    with pytest.raises(UnavailableError):
        await node.creation.create(new_order())
    move_end(node.inventory, node.records, order.sandbox_id, node.clock.now)
    node.removal.delete(order.sandbox_id, "request")


async def test_an_id_in_use_is_refused(node: Node) -> None:
    order = new_order()
    results = await asyncio.gather(*(node.creation.create(order) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [RunningSandbox, ConflictError, ConflictError]


async def test_a_full_node_counts_starting_sandboxes() -> None:
    node = Node(MemoryDriver(), max_sandboxes=3)
    await node.start()
    results = await asyncio.gather(*(node.creation.create(new_order()) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, RunningSandbox) for result in results) == 3
    refused = [result for result in results if isinstance(result, ExhaustedError)]
    assert len(refused) == 2
    assert refused[0].message == "max number of running sandboxes on node reached (3), please retry"
    await node.stop()
    node.check_agrees()


async def test_a_burst_waits_its_turn(node: Node) -> None:
    sandboxes = await asyncio.gather(*(node.creation.create(new_order()) for _ in range(100)))
    assert len({sandbox.sandbox_id for sandbox in sandboxes}) == 100
    assert node.driver.most_creating == 4
    assert node.inventory.allocated_vcpu == 200


async def test_the_queue_is_fair(node: Node) -> None:
    node.driver.gate.clear()
    ended: list[str] = []
    orders = [new_order() for _ in range(12)]

    async def create(sandbox_id: str, index: int) -> None:
        await node.creation.create(orders[index])
        ended.append(sandbox_id)

    tasks = [asyncio.create_task(create(order.sandbox_id, index)) for index, order in enumerate(orders)]
    await in_driver(node, 4)
    node.driver.gate.set()
    await asyncio.gather(*tasks)
    assert ended == [order.sandbox_id for order in orders]


@pytest.mark.parametrize("rounds", range(8))
async def test_cancelled_anywhere_nothing_is_left(node: Node, rounds: int) -> None:
    node.driver.gate.clear()
    creating = asyncio.create_task(node.creation.create(new_order()))
    for _ in range(rounds):
        await asyncio.sleep(0)
    if rounds % 2:
        node.driver.gate.set()  # so that the end of the boot and the cancellation meet
    creating.cancel()
    await asyncio.wait({creating})
    assert creating.cancelled()
    assert not node.inventory.running


async def test_delete_is_unroutable_at_once(node: Node) -> None:
    order = new_order()
    await node.creation.create(order)
    node.removal.delete(order.sandbox_id, "request")
    assert not node.routes.opened
    assert not node.inventory.running
    assert not node.records.saved
    with pytest.raises(NotFoundError, match=f"^sandbox '{order.sandbox_id}' not found$"):
        node.removal.delete(order.sandbox_id, "request")


async def test_deleting_an_execution_that_is_over_spares_the_one_that_runs(node: Node) -> None:
    """IDs outlive pauses: a late clean-up after one run must not hit the next."""
    order = new_order()
    await node.creation.create(order)
    with pytest.raises(NotFoundError):
        node.removal.delete(order.sandbox_id, "orphaned", "an-earlier-one")
    assert order.sandbox_id in node.inventory.running
    node.removal.delete(order.sandbox_id, "request", order.execution_id)
    assert not node.inventory.running


async def test_delete_while_it_waits_for_its_turn_or_starts(node: Node) -> None:
    node.driver.gate.clear()
    orders = [new_order() for _ in range(6)]
    creating = [asyncio.create_task(node.creation.create(order)) for order in orders]
    await in_driver(node, 4)
    for order in orders:
        node.removal.delete(order.sandbox_id, "request")
    node.driver.gate.set()
    results = await asyncio.gather(*creating, return_exceptions=True)
    assert all(isinstance(result, ConflictError) for result in results)


async def test_create_waits_until_its_predecessor_is_removed(node: Node) -> None:
    order = new_order()
    await node.creation.create(order)
    node.removal.delete(order.sandbox_id, "request")
    await node.creation.create(order)
    assert node.driver.killed == [order.sandbox_id]


async def test_an_unrecordable_sandbox_is_not_created(node: Node) -> None:
    node.records.broken = True
    with pytest.raises(UnavailableError):
        await node.creation.create(new_order())
    assert not node.inventory.running


async def test_removal_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_PAUSE_SECONDS", 0)
    order = new_order()
    await node.creation.create(order)
    node.driver.kill_failures = 2
    await node.removal.kill(order.sandbox_id)
    assert node.driver.killed == [order.sandbox_id]
    node.removal.discard(order.sandbox_id, "request")
    assert node.events.of(order.sandbox_id) == ["created", "killed: request"]


async def test_a_sandbox_that_ends_by_itself_is_forgotten(node: Node) -> None:
    order = new_order()
    await node.creation.create(order)
    node.driver.crash(order.sandbox_id)
    assert not node.inventory.running
    assert node.events.of(order.sandbox_id) == ["created", "killed: unknown"]
    assert not node.routes.opened


async def test_moving_the_end_is_recorded_first(node: Node) -> None:
    order = new_order()
    await node.creation.create(order)
    later = node.clock.now + timedelta(hours=3)
    move_end(node.inventory, node.records, order.sandbox_id, later)
    assert node.records.saved[order.sandbox_id].end_at == later
    node.records.broken = True
    with pytest.raises(UnavailableError):
        move_end(node.inventory, node.records, order.sandbox_id, node.clock.now)
    assert node.inventory.running[order.sandbox_id].end_at == later
    with pytest.raises(NotFoundError, match=r"^sandbox not found$"):
        move_end(node.inventory, node.records, "inobodyknows", later)


async def test_adoption_after_a_crash_of_ours() -> None:
    kernel, records = Kernel(), MemoryRecords()
    first = Node(MemoryDriver(kernel), records)
    await first.start()
    kept, lost, unrecorded = [await first.creation.create(new_order()) for _ in range(3)]
    kernel.sandboxes.pop(lost.sandbox_id)
    records.saved.pop(unrecorded.sandbox_id)
    await first.driver.close()

    second = Node(MemoryDriver(kernel), records)
    await second.start()
    assert second.inventory.running == {kept.sandbox_id: kept}
    await second.stop()
    assert second.driver.killed == [unrecorded.sandbox_id]
    assert second.events.of(lost.sandbox_id) == ["killed: unknown"]
    assert second.events.of(kept.sandbox_id) == []
    second.check_agrees()


async def test_what_outstays_its_end() -> None:
    node = Node(MemoryDriver())
    await node.start()
    doomed = await node.creation.create(new_order(lifetime=timedelta(0)))
    await node.creation.create(new_order(lifetime=timedelta(0), auto_pause=True))
    await node.creation.create(new_order())
    sandboxes = node.inventory.running.values()
    assert list_overdue(sandboxes, node.clock.now + timedelta(seconds=60)) == []
    assert list_overdue(sandboxes, node.clock.now + timedelta(seconds=61)) == [doomed.sandbox_id]
    await node.stop()


def test_status_changes() -> None:
    clock = FakeClock()
    board = StatusBoard(clock)
    clock.now += timedelta(seconds=1)
    board.change(NodeStatus.DRAINING)
    assert board.changed_at == clock.now
    with pytest.raises(ConflictError, match="cannot change node status from draining to standby"):
        board.change(NodeStatus.STANDBY)
    board.change(NodeStatus.HEALTHY)
    board.change(NodeStatus.STANDBY)
