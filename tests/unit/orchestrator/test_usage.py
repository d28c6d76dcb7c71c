"""What sandboxes use, from the kernel's accounts (rest-api contract §12.1, data-plane contract §12.4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sandbank.domain.errors import NotFoundError
from sandbank.orchestrator.background.usage_sampler import UsageSampler
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.orchestrator.core.usage import UsageSample, sample
from sandbank.runtime.driver import SandboxStats
from tests.unit.orchestrator.memory_driver import MemoryDriver
from tests.unit.orchestrator.node import Node, new_order

STATS = SandboxStats(1.0, 300, 100, 1000, 7, 70, 3)


async def sandbox_of(node: Node) -> RunningSandbox:
    return await node.creation.create(new_order())


class Meters:
    """Says what it was told; raises for the rest."""

    def __init__(self) -> None:
        self.known: dict[str, SandboxStats] = {}

    async def stats(self, sandbox_id: str) -> SandboxStats:
        if sandbox_id not in self.known:
            raise NotFoundError(f"sandbox '{sandbox_id}' not found")
        return self.known[sandbox_id]


class Samples:
    def __init__(self) -> None:
        self.taken: list[UsageSample] = []

    def record(self, usage: UsageSample) -> None:
        self.taken.append(usage)


@pytest.mark.parametrize(("cpu_seconds", "percent"), [(1.0, 0.0), (6.0, 50.0), (11.0, 100.0), (13.0, 100.0), (0.5, 0.0)])
async def test_processor_time_is_a_part_of_all_vcpus_and_never_beyond(cpu_seconds: float, percent: float) -> None:
    node = Node(MemoryDriver())
    await node.start()
    sandbox = replace(await sandbox_of(node), vcpu=2)
    first = sample(sandbox, node.clock(), STATS, None)
    node.clock.now += timedelta(seconds=5)
    second = sample(sandbox, node.clock(), replace(STATS, cpu_seconds=cpu_seconds), first)
    assert second.cpu_percent == percent
    assert second.memory_used_bytes == 200
    await node.stop()


async def test_the_first_look_counts_from_the_start_and_another_execution_starts_again() -> None:
    node = Node(MemoryDriver())
    await node.start()
    sandbox = await sandbox_of(node)
    node.clock.now += timedelta(seconds=4)
    first = sample(sandbox, node.clock(), STATS, None)
    assert (first.interval_seconds, first.cpu_seconds_delta) == (4.0, 1.0)
    resumed = replace(sandbox, execution_id="another", started_at=node.clock())
    node.clock.now += timedelta(seconds=2)
    assert sample(resumed, node.clock(), STATS, first).interval_seconds == 2.0
    await node.stop()


async def test_every_sandbox_is_looked_at_and_what_ended_meanwhile_is_left_out() -> None:
    node = Node(MemoryDriver())
    await node.start()
    one, two = await sandbox_of(node), await sandbox_of(node)
    meters, samples = Meters(), Samples()
    sampler = UsageSampler(node.inventory, meters, samples, node.clock)
    meters.known = {one.sandbox_id: STATS}
    await sampler.sweep()
    assert [taken.sandbox.sandbox_id for taken in samples.taken] == [one.sandbox_id]
    meters.known[two.sandbox_id] = STATS
    node.clock.now += timedelta(seconds=5)
    await sampler.sweep()
    assert [taken.sandbox.sandbox_id for taken in samples.taken[1:]] == [one.sandbox_id, two.sandbox_id]
    assert samples.taken[1].interval_seconds == 5.0
    await node.stop()


async def test_a_look_at_no_sandboxes_remembers_none() -> None:
    node = Node(MemoryDriver())
    await node.start()
    sandbox = await sandbox_of(node)
    meters, samples = Meters(), Samples()
    meters.known = {sandbox.sandbox_id: STATS}
    sampler = UsageSampler(node.inventory, meters, samples, node.clock)
    await sampler.sweep()
    node.removal.delete(sandbox.sandbox_id, "request")
    await sampler.sweep()
    assert len(samples.taken) == 1
    assert not sampler._last
    await node.stop()
