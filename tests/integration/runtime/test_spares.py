"""Sandboxes made ahead: nobody's until they are wanted, then somebody's within milliseconds, and in nothing unlike one that was not."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from sandbank.runtime.driver import AgentInit, SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

SNAPSHOT = "build-start"


@pytest.fixture
async def driver() -> AsyncIterator[NamespaceDriver]:
    """With a snapshot in which something runs, and nothing else."""
    driver = node.make_driver(frozen_share=0.05)
    assert (await driver.start(lambda ended: None)).adopted == ()
    seed = node.new_spec()
    await driver.create(seed)
    await run(driver, seed.sandbox_id, "(sleep 1000 > /dev/null 2>&1 &)")
    await driver.checkpoint(seed.sandbox_id, SNAPSHOT)
    await driver.kill(seed.sandbox_id)
    yield driver
    await driver.remove_snapshot(SNAPSHOT)
    await driver.close()
    assert node.sandbox_processes() == []
    assert node.remains()["cgroups"] == []


def _spare() -> SandboxSpec:
    return dataclasses.replace(node.new_spec(), snapshot_id=SNAPSHOT, init=AgentInit("nobody's", {}))


async def test_whoever_wants_one_gets_it_as_his_own(driver: NamespaceDriver) -> None:
    spare = _spare()
    assert await driver.make_spare(spare)
    assert driver.count_spares(SNAPSHOT) == 1
    wanted = dataclasses.replace(node.new_spec(), snapshot_id=SNAPSHOT, init=AgentInit(None, {"WHOSE": "mine"}))
    await driver.create(wanted)
    name = wanted.sandbox_id
    assert driver.count_spares(SNAPSHOT) == 0
    assert (await run(driver, name, "echo $WHOSE; pgrep sleep > /dev/null && echo runs; echo new > /tmp/file")).output == "mine\nruns\n"
    record = driver._running[name].record
    assert (record.sandbox_id, record.group, record.frozen) == (name, spare.sandbox_id, "")
    await driver.pause(name, "paused")
    await driver.create(dataclasses.replace(wanted, snapshot_id="paused", execution_id="next"))
    assert (await run(driver, name, "cat /tmp/file")).output == "new\n"
    await driver.kill(name)
    await driver.remove_snapshot("paused")


async def test_the_next_driver_adopts_what_was_taken_and_removes_what_was_not(driver: NamespaceDriver) -> None:
    await driver.make_spare(_spare())
    wanted = dataclasses.replace(node.new_spec(), snapshot_id=SNAPSHOT)
    await driver.create(wanted)
    left = _spare()
    await driver.make_spare(left)
    driver._frozen._kept.clear()  # as if it had been killed
    await driver.close()
    other = node.make_driver(frozen_share=0.05)
    found = await other.start(lambda ended: None)
    assert found.adopted == (wanted.sandbox_id,)
    assert left.sandbox_id in found.reclaimed
    assert (await run(other, wanted.sandbox_id, "pgrep sleep > /dev/null && echo runs")).output == "runs\n"
    await other.kill(wanted.sandbox_id)
    assert node.remains()["cgroups"] == []
    await other.remove_snapshot(SNAPSHOT)
    await other.close()


async def test_they_end_with_their_snapshot_and_are_not_taken_for_other_sizes(driver: NamespaceDriver) -> None:
    await driver.make_spare(_spare())
    larger = dataclasses.replace(node.new_spec(), snapshot_id=SNAPSHOT)
    larger = dataclasses.replace(larger, limits=dataclasses.replace(larger.limits, vcpu=larger.limits.vcpu + 1))
    await driver.create(larger)
    assert driver.count_spares(SNAPSHOT) == 1
    await driver.kill(larger.sandbox_id)
    await driver.remove_snapshot(SNAPSHOT)
    assert driver.count_spares(SNAPSHOT) == 0
    assert node.sandbox_processes() == []
