"""Resuming and connecting (rest-api contract §8.7, §8.8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.listing import ListSandboxes
from sandbank.api.core.team import Team
from sandbank.domain.errors import (
    ConflictError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM

STRANGERS = Team("t2", "strangers", "Strangers", 3, 1)
NETWORK = {
    "allowPublicTraffic": False,
    "maskRequestHost": "localhost:${PORT}",
    "httpsPorts": [8443],
    "denyOut": ["0.0.0.0/0"],
    "egressProxy": {"address": "1.2.3.4:1080", "username": "u", "password": "p"},
}


@pytest.fixture
async def sandbox(core: Core) -> Sandbox:
    """Paused."""
    request = CreateSandbox("base", 420, secure=True, metadata={"a": "b"}, env_vars={"X": "1"}, network=NETWORK, auto_resume=True)
    sandbox = await core.creator.create(TEAM, request)
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    return sandbox


async def test_it_comes_back_as_it_was(core: Core, sandbox: Sandbox) -> None:
    first, wish = core.nodes.starts[sandbox.sandbox_id], core.nodes.wishes[sandbox.sandbox_id]
    saved = core.snapshots.saves[sandbox.sandbox_id][-1]
    core.clock.pass_by(hours=2)
    back, was_paused = await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert was_paused
    assert back.execution_id != sandbox.execution_id
    assert (back.end_at - core.clock()).total_seconds() == 60
    assert back.build_id == saved.build_id
    assert back == replace(sandbox, execution_id=back.execution_id, started_at=back.started_at, end_at=back.end_at, build_id=back.build_id)
    start = core.nodes.starts[sandbox.sandbox_id]
    assert (start.snapshot_env_id, start.template.build_id, start.origin_node_id) == (saved.env_id, saved.build_id, "n1")
    assert (start.env_vars, start.mask_request_host, start.https_ports) == ({}, first.mask_request_host, (8443,))
    assert core.nodes.wishes[sandbox.sandbox_id] == wish
    assert wish.proxy is not None
    assert wish.proxy.password == "p"
    assert set(core.routes.routes) == {sandbox.sandbox_id}


async def test_it_can_be_paused_and_resumed_any_number_of_times(core: Core, sandbox: Sandbox) -> None:
    """The newest save is what comes back and the only one kept; the timeout of the creation is what traffic wakes it for."""
    for _ in range(3):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    (save,) = core.snapshots.saves[sandbox.sandbox_id]
    back, _ = await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert (core.nodes.saves, back.build_id, back.requested_timeout_seconds) == ({save.build_id}, save.build_id, 420)


async def test_a_failed_pause_leaves_the_save_before_it(core: Core, sandbox: Sandbox) -> None:
    (before,) = core.nodes.saves
    await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    core.nodes.pause_errors.append(InternalError("lost"))
    core.nodes.running.clear()
    with pytest.raises(InternalError):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    back, was_paused = await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert (back.build_id, was_paused) == (before, True)


async def test_however_many_connect_it_is_woken_once(core: Core, sandbox: Sandbox) -> None:
    outcomes = await asyncio.gather(*(core.resumer.connect(TEAM, sandbox.sandbox_id, 60) for _ in range(20)))
    assert len({one.execution_id for one, _ in outcomes}) == 1
    assert [call[0] for call in core.nodes.calls].count("create") == 2


async def test_however_many_resume_it_is_woken_once(core: Core, sandbox: Sandbox) -> None:
    outcomes = await asyncio.gather(*(core.resumer.resume(TEAM, sandbox.sandbox_id, 60) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, Sandbox | ConflictError) for outcome in outcomes)
    assert [call[0] for call in core.nodes.calls].count("create") == 2


async def test_resuming_what_runs_is_a_conflict_and_connecting_extends(core: Core, sandbox: Sandbox) -> None:
    await core.resumer.resume(TEAM, sandbox.sandbox_id, 60, auto_pause=True)
    with pytest.raises(ConflictError, match=f"^Sandbox {sandbox.sandbox_id} is already running$"):
        await core.resumer.resume(TEAM, sandbox.sandbox_id, 60)
    extended, was_paused = await core.resumer.connect(TEAM, sandbox.sandbox_id, 120)
    assert ((extended.end_at - core.clock()).total_seconds(), was_paused, extended.auto_pause) == (120, False, True)


async def test_what_is_not_there_is_not_found(core: Core, sandbox: Sandbox) -> None:
    for team, sandbox_id in ((STRANGERS, sandbox.sandbox_id), (TEAM, "iabsent")):
        for attempt in (core.resumer.resume(team, sandbox_id, 15), core.resumer.connect(team, sandbox_id, 15)):
            with pytest.raises(NotFoundError, match="doesn't exist or you don't have access to it"):
                await attempt
    with pytest.raises(InvalidError, match="Timeout cannot be greater than 1 hours"):
        await core.resumer.connect(TEAM, "iabsent", 72 * 3600)


async def test_without_its_memory_it_boots(core: Core, sandbox: Sandbox) -> None:
    """Newer clients' `on_resume="reboot"`."""
    for memory, boots in ((None, False), (True, False), (False, True)):
        for resume in (core.resumer.connect, core.resumer.resume):
            await resume(TEAM, sandbox.sandbox_id, 60, memory=memory)
            assert core.nodes.starts[sandbox.sandbox_id].boots is boots
            await core.pauser.pause(TEAM, sandbox.sandbox_id)


async def test_a_timeout_of_nothing_leaves_it_paused(core: Core, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidError, match="Timeout must be greater than 0"):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 0)
    assert core.nodes.running == {}


@pytest.mark.parametrize("failure", [UnavailableError("away"), ConflictError("sandbox files not found")])
async def test_after_a_failure_it_is_still_paused(core: Core, sandbox: Sandbox, failure: SandbankError) -> None:
    core.nodes.failures["n1"] = [failure]
    with pytest.raises(SandbankError, match="Failed to place sandbox"):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert not await core.store.is_reserved(sandbox.sandbox_id)
    page = await core.lister.page(TEAM, ListSandboxes())
    assert [one.state for one in page.sandboxes] == [SandboxState.PAUSED]
    _, was_paused = await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert was_paused


async def test_only_the_node_that_has_the_save_will_do(core: Core, sandbox: Sandbox) -> None:
    core.nodes.loads = [replace(core.nodes.loads[0], node_id="n2")]
    with pytest.raises(UnavailableError, match="no node is ready to take it"):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)


async def test_the_quota_counts(core: Core, sandbox: Sandbox) -> None:
    for _ in range(TEAM.concurrent_sandboxes):
        await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))
    with pytest.raises(ExhaustedError, match="you have reached the maximum number of concurrent E2B sandboxes"):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)


async def test_connecting_while_it_is_being_paused_waits_and_brings_it_back(core: Core, sandbox: Sandbox) -> None:
    await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    core.nodes.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(core.pauser.pause(TEAM, sandbox.sandbox_id))
    while core.nodes.calls[-1][0] != "pause":
        await asyncio.sleep(0)
    connecting = asyncio.ensure_future(core.resumer.connect(TEAM, sandbox.sandbox_id, 60))
    await asyncio.sleep(0.01)
    for attempt in (core.resumer.connect(STRANGERS, sandbox.sandbox_id, 60), core.pauser.pause(STRANGERS, sandbox.sandbox_id)):
        with pytest.raises(NotFoundError):  # at once: strangers do not get to wait
            await attempt
    core.nodes.pause_gate.set()
    await pausing
    assert (await connecting)[1]


async def test_pauses_and_connects_in_any_mix_end_in_one_state(core: Core, sandbox: Sandbox) -> None:
    async def shake(number: int) -> None:
        try:
            if number % 2:
                await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
            else:
                await core.pauser.pause(TEAM, sandbox.sandbox_id)
        except ConflictError:
            pass

    await asyncio.gather(*(shake(number) for number in range(20)))
    record = await core.store.find(sandbox.sandbox_id)
    running = core.nodes.running.get(sandbox.sandbox_id)
    assert (record and record.execution_id) == (running and running.execution_id)
    assert set(core.routes.routes) == set(core.nodes.running)


async def test_an_impatient_caller_does_not_stop_it(core: Core, sandbox: Sandbox) -> None:
    core.nodes.gate = asyncio.Event()
    connecting = asyncio.ensure_future(core.resumer.connect(TEAM, sandbox.sandbox_id, 60))
    while core.nodes.calls[-1][0] != "create":
        await asyncio.sleep(0)
    connecting.cancel()
    core.nodes.gate.set()
    await asyncio.sleep(0.01)
    assert (await core.resumer.connect(TEAM, sandbox.sandbox_id, 60))[1] is False
