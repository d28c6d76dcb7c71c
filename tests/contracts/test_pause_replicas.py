"""Two API processes that share Redis pause and resume the same sandboxes (rest-api contract §8.0, data-plane contract §10.2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.domain.errors import ConflictError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from sandbank.state import redis_sandbox_store
from sandbank.state.redis_sandbox_store import RedisSandboxStore
from tests.contracts.redis_server import empty_redis
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM


@pytest.fixture
async def replicas(redis_socket: Path) -> AsyncIterator[tuple[Core, Core]]:
    async with empty_redis(redis_socket) as redis:
        stores = [RedisSandboxStore(redis), RedisSandboxStore(redis)]
        one = Core(store=stores[0])
        one.clock.now = datetime.now(UTC)
        two = Core(store=stores[1], beside=one)
        yield one, two
        for core, store in zip((one, two), stores, strict=True):
            await core.tasks.close()
            await store.close()


async def _running(core: Core) -> Sandbox:
    return await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))


async def test_a_sandbox_is_paused_and_woken_once(replicas: tuple[Core, Core]) -> None:
    sandbox_id = (await _running(replicas[0])).sandbox_id
    await asyncio.gather(*(replicas[n % 2].pauser.pause(TEAM, sandbox_id) for n in range(6)))
    found = await asyncio.gather(*(replicas[n % 2].resumer.connect(TEAM, sandbox_id, 60) for n in range(6)))
    assert [call[0] for call in replicas[0].nodes.calls if call[0] in ("create", "pause")] == ["create", "pause", "create"]
    assert len({sandbox.execution_id for sandbox, _ in found}) == 1
    assert sum(was_paused for _, was_paused in found) == 1


async def test_any_mix_ends_in_one_state(replicas: tuple[Core, Core]) -> None:
    sandbox_id = (await _running(replicas[0])).sandbox_id

    async def shake(number: int) -> None:
        core = replicas[number % 2]
        with contextlib.suppress(ConflictError):
            await (core.pauser.pause(TEAM, sandbox_id) if number % 4 < 2 else core.resumer.connect(TEAM, sandbox_id, 60))

    await asyncio.gather(*(shake(number) for number in range(20)))
    record, running = await replicas[0].store.find(sandbox_id), replicas[0].nodes.running.get(sandbox_id)
    assert (record and record.execution_id) == (running and running.execution_id)
    assert set(replicas[0].routes.routes) == set(replicas[0].nodes.running)


async def test_what_a_dead_replica_began_to_pause_is_paused(replicas: tuple[Core, Core], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sandbox_store, "_TRANSITION_SECONDS", 1)
    dead, alive = replicas
    sandbox = await _running(dead)
    assert await dead.store.begin(sandbox.sandbox_id, SandboxState.PAUSING) is not None
    await asyncio.sleep(1.1)
    alive.clock.now = datetime.now(UTC)
    (due,) = await alive.store.expired(alive.clock(), 10, alive.clock())
    await alive.expirer.expire(due)
    assert await alive.store.find(sandbox.sandbox_id) is None
    snapshot = await alive.paused.find(sandbox.sandbox_id)
    assert snapshot is not None
    assert snapshot.is_ready
    back, _ = await alive.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert replace(back, state=SandboxState.RUNNING) == await alive.store.find(sandbox.sandbox_id)
