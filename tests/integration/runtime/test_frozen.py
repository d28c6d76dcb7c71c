"""Paused sandboxes that stay in memory: they go on at once, and are never more than a copy of what is on disk (ADR 0016)."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbank.domain.errors import ConflictError, NotFoundError, UnavailableError
from sandbank.runtime.driver import AgentInit, SandboxSpec
from sandbank.runtime.drivers.namespaces import checkpoint
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.home import Homes
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_COUNT = "(i=0; while sleep 0.02; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; done) > /dev/null 2>&1 &"


@pytest.fixture
async def driver() -> AsyncIterator[NamespaceDriver]:
    driver = node.make_driver(frozen_share=0.05)
    assert (await driver.start(lambda ended: None)).adopted == ()
    yield driver
    for snapshot_id in driver._saves.names():
        await driver.remove_snapshot(snapshot_id)
    await driver.close()
    assert node.sandbox_processes() == []


@pytest.fixture
async def spec(driver: NamespaceDriver) -> AsyncIterator[SandboxSpec]:
    """A sandbox with a job that counts."""
    spec = node.new_spec()
    await driver.create(spec)
    await run(driver, spec.sandbox_id, _COUNT)
    yield spec
    await driver.kill(spec.sandbox_id)


def _next(spec: SandboxSpec, **changes: object) -> SandboxSpec:
    return dataclasses.replace(spec, snapshot_id="paused", **{"execution_id": "next", **changes})  # type: ignore[arg-type]


async def _count(driver: NamespaceDriver, sandbox_id: str) -> int:
    return int((await run(driver, sandbox_id, "cat /tmp/count")).output)


async def test_it_stands_still_and_goes_on_as_who_it_is_to_be(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    name = spec.sandbox_id
    pid = driver._running[name].record.pid
    for number in range(4):
        await driver.pause(name, "paused")
        with pytest.raises(NotFoundError):
            await driver.stats(name)
        usage = driver._groups.group(name).usage().cpu_seconds
        await asyncio.sleep(0.2)
        assert driver._groups.group(name).usage().cpu_seconds == usage
        token = f"token {number}" if number % 2 else None
        spec = _next(spec, execution_id=str(number), init=AgentInit(token, {"N": str(number)}))
        await driver.create(spec)
        record = driver._running[name].record
        assert (record.pid, record.execution_id, record.agent_token, record.frozen) == (pid, str(number), token, "")
        if token is None:
            assert (await run(driver, name, "echo $N")).output == f"{number}\n"
            first = await _count(driver, name)
            await asyncio.sleep(0.2)
            assert await _count(driver, name) > first


async def test_what_died_meanwhile_comes_from_disk(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    await driver.pause(spec.sandbox_id, "paused")
    group = driver._groups.group(spec.sandbox_id)
    for pid in group.pids():
        os.kill(pid, signal.SIGKILL)
    group.thaw()
    await driver.create(_next(spec))
    first = await _count(driver, spec.sandbox_id)
    await asyncio.sleep(0.2)
    assert await _count(driver, spec.sandbox_id) > first


async def test_another_made_of_its_snapshot_is_another(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    await driver.pause(spec.sandbox_id, "paused")
    twin = _next(spec, sandbox_id=f"{spec.sandbox_id}twin")
    await driver.create(twin)
    await run(driver, twin.sandbox_id, "echo twin > /home/user/who")
    await driver.create(_next(spec))
    assert (await run(driver, spec.sandbox_id, "cat /home/user/who 2>&1 | grep -c twin")).output == "0\n"
    await driver.kill(twin.sandbox_id)


async def test_its_end_is_its_snapshots_end(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    await driver.pause(spec.sandbox_id, "paused")
    assert driver._groups.group(spec.sandbox_id).pids()
    await driver.remove_snapshot("paused")
    assert not driver._groups.group(spec.sandbox_id).pids()
    assert not any(node.remains()[kind] for kind in ("cgroups", "mounts"))


async def test_who_wants_memory_gets_it(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    other = node.new_spec()
    await driver.create(other)
    await driver.pause(spec.sandbox_id, "paused")
    await driver.pause(other.sandbox_id, "other")
    driver._frozen._most = 1
    async with asyncio.timeout(10):
        while driver._groups.group(spec.sandbox_id).pids():
            await asyncio.sleep(0.05)
    assert driver._groups.group(other.sandbox_id).pids()
    await driver.create(_next(spec))
    assert await _count(driver, spec.sandbox_id) > 0


async def test_one_that_criu_did_not_let_go_of_well_comes_from_disk(
    driver: NamespaceDriver, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = checkpoint.dump

    async def fail(*arguments: Any, **options: Any) -> None:
        await dump(*arguments, **options)
        raise ConflictError("it failed to let go")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "dump", fail)
        await driver.pause(spec.sandbox_id, "paused")
    assert not driver._groups.group(spec.sandbox_id).pids()
    await driver.create(_next(spec))
    assert await _count(driver, spec.sandbox_id) > 0


async def test_no_room_for_its_record_leaves_it_running(
    driver: NamespaceDriver, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(homes: Homes, record: object) -> None:
        raise UnavailableError("the disk of this node's sandboxes is full")

    with monkeypatch.context() as patch:
        patch.setattr(Homes, "write_record", refuse)
        with pytest.raises(UnavailableError, match="full"):
            await driver.pause(spec.sandbox_id, "paused")
    assert not driver.has_snapshot("paused")
    first = await _count(driver, spec.sandbox_id)
    await asyncio.sleep(0.2)
    assert await _count(driver, spec.sandbox_id) > first
    await driver.pause(spec.sandbox_id, "paused")
    await driver.create(_next(spec))
