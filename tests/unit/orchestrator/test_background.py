"""The node's loops and its view of the machine."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.orchestrator.adapters.machine import Machine, processor
from sandbank.orchestrator.background import expiry_guard, load_sampler
from sandbank.orchestrator.core.machine import MachineLoad
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.runtime.linux.memory import memory_bytes
from tests.unit.orchestrator.memory_driver import MemoryDriver
from tests.unit.orchestrator.node import Node, new_order


async def test_the_guard_ends_what_nobody_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry_guard, "_PERIOD_SECONDS", 0)
    node = Node(MemoryDriver())
    await node.start()
    await node.creation.create(new_order(lifetime=timedelta(minutes=1)))
    kept = await node.creation.create(new_order(lifetime=timedelta(minutes=3)))
    guard = asyncio.create_task(expiry_guard.guard_expiry(node.inventory, node.removal, node.clock))
    node.clock.now += timedelta(minutes=2, seconds=1)
    async with asyncio.timeout(10):
        while len(node.inventory.running) == 2:
            await asyncio.sleep(0)
    guard.cancel()
    await asyncio.wait({guard})
    assert list(node.inventory.running) == [kept.sandbox_id]
    await node.stop()
    node.check_agrees()


async def test_an_unroutable_sandbox_is_not_created() -> None:
    node = Node(MemoryDriver())
    await node.start()

    def refuse(sandbox: RunningSandbox) -> None:
        raise InvalidError("invalid host in maskRequestHost")

    node.routes.open = refuse  # type: ignore[method-assign]
    with pytest.raises(InvalidError):
        await node.creation.create(new_order())
    await node.stop()
    node.check_agrees()


async def test_a_failed_sample_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_sampler, "_PERIOD_SECONDS", 0)
    machine = Machine(tmp_path)
    taken: list[MachineLoad] = []

    class Flaky:
        def sample(self) -> MachineLoad:
            if len(taken) % 2:
                taken.append(taken[-1])
                raise OSError("no such device")
            taken.append(machine.sample())
            return taken[-1]

    sampler = load_sampler.LoadSampler(Flaky())
    first = sampler.latest()
    assert sampler.latest() is first
    running = asyncio.create_task(sampler.run())
    async with asyncio.timeout(10):
        while len(taken) < 6:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert sampler.latest() in taken


def test_the_machine(tmp_path: Path) -> None:
    load = Machine(tmp_path).sample()
    used, total = memory_bytes()
    assert 0 < used < total == load.memory_total_bytes
    assert 0 <= load.cpu_percent <= 100
    assert tmp_path.is_relative_to(load.disk.mount_point)
    assert load.disk.filesystem_type
    assert processor().count >= 1
    assert processor().architecture
