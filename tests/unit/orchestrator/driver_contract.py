"""What every driver does, the real ones and their twin in memory. Subclasses give the fixtures `driver` (started) and `spec`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.runtime.driver import Driver, SandboxSpec

SpecMaker = Callable[[], SandboxSpec]
AGENT_PORT = 49983


def new_execution_id() -> str:
    return str(uuid.uuid4())


async def connects(driver: Driver, sandbox_id: str, port: int) -> bool:
    """Whether a dialled connection completes."""
    connection = driver.dial(sandbox_id, port)
    try:
        assert not connection.getblocking()
        _, writer = await asyncio.open_connection(sock=connection)
        peer = writer.get_extra_info("peername")
        writer.close()
        return peer is not None
    except OSError:
        return False


class DriverContract:
    async def test_a_created_sandbox_answers_on_its_agent_port(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        await driver.create(spec)
        assert await connects(driver, spec.sandbox_id, AGENT_PORT)
        await driver.kill(spec.sandbox_id)

    async def test_stats_show_the_limits(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        await driver.create(spec)
        stats = await driver.stats(spec.sandbox_id)
        assert stats.memory_limit_bytes == spec.limits.memory_mib << 20
        assert stats.pids >= 1
        await driver.kill(spec.sandbox_id)

    async def test_a_killed_sandbox_is_refused_at_once(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        await driver.create(spec)
        killing = asyncio.get_running_loop().create_task(driver.kill(spec.sandbox_id))
        await asyncio.sleep(0)
        with pytest.raises(NotFoundError):
            driver.dial(spec.sandbox_id, AGENT_PORT)
        await killing
        with pytest.raises(NotFoundError):
            await driver.stats(spec.sandbox_id)

    async def test_killing_is_idempotent(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        await driver.create(spec)
        await asyncio.gather(driver.kill(spec.sandbox_id), driver.kill(spec.sandbox_id))
        await driver.kill(spec.sandbox_id)
        await driver.kill("inobodyknows")

    async def test_a_paused_sandbox_is_gone_until_it_is_created_from_its_snapshot(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec, snapshot_id = new_spec(), f"snapshot-{uuid.uuid4()}"
        await driver.create(spec)
        await driver.pause(spec.sandbox_id, snapshot_id)
        with pytest.raises(NotFoundError):
            driver.dial(spec.sandbox_id, AGENT_PORT)
        assert driver.has_snapshot(snapshot_id)
        await driver.create(replace(spec, layers=(), snapshot_id=snapshot_id, execution_id=new_execution_id()))
        assert await connects(driver, spec.sandbox_id, AGENT_PORT)
        assert (await driver.stats(spec.sandbox_id)).memory_limit_bytes == spec.limits.memory_mib << 20
        await driver.kill(spec.sandbox_id)
        await driver.remove_snapshot(snapshot_id)
        await driver.remove_snapshot(snapshot_id)
        assert not driver.has_snapshot(snapshot_id)
        with pytest.raises(ConflictError):
            await driver.create(replace(spec, snapshot_id=snapshot_id))

    async def test_a_checkpoint_leaves_a_sandbox_running_and_starts_others(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec, snapshot_id = new_spec(), f"snapshot-{uuid.uuid4()}"
        await driver.create(spec)
        await driver.checkpoint(spec.sandbox_id, snapshot_id)
        twin = replace(new_spec(), layers=(), snapshot_id=snapshot_id)
        await driver.create(twin)
        for sandbox in (spec, twin):
            assert await connects(driver, sandbox.sandbox_id, AGENT_PORT)
            await driver.kill(sandbox.sandbox_id)
        await driver.remove_snapshot(snapshot_id)

    async def test_an_unknown_sandbox_cannot_be_paused(self, driver: Driver) -> None:
        with pytest.raises(NotFoundError):
            await driver.pause("inobodyknows", "snapshot")

    async def test_an_unknown_sandbox_is_not_found(self, driver: Driver) -> None:
        with pytest.raises(NotFoundError):
            driver.dial("inobodyknows", AGENT_PORT)
        with pytest.raises(NotFoundError):
            await driver.stats("inobodyknows")

    async def test_a_cancelled_create_leaves_nothing(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        creating = asyncio.get_running_loop().create_task(driver.create(spec))
        await asyncio.sleep(0.002)
        creating.cancel()
        await asyncio.wait({creating})
        if not creating.cancelled():
            creating.result()  # it was quicker than we were
            await driver.kill(spec.sandbox_id)
        with pytest.raises(NotFoundError):
            driver.dial(spec.sandbox_id, AGENT_PORT)
        await driver.create(spec)
        await driver.kill(spec.sandbox_id)

    async def test_an_id_can_be_used_again(self, driver: Driver, new_spec: SpecMaker) -> None:
        spec = new_spec()
        for _ in range(2):
            await driver.create(spec)
            await driver.kill(spec.sandbox_id)

    async def test_many_at_once(self, driver: Driver, new_spec: SpecMaker) -> None:
        specs = [new_spec() for _ in range(10)]
        await asyncio.gather(*(driver.create(spec) for spec in specs))
        assert all(await asyncio.gather(*(connects(driver, spec.sandbox_id, AGENT_PORT) for spec in specs)))
        await asyncio.gather(*(driver.kill(spec.sandbox_id) for spec in specs))
