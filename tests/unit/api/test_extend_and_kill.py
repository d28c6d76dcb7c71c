"""Moving a sandbox's end, and ending it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.ports import NodeUnknownError
from sandbank.domain.errors import ConflictError, InternalError, InvalidError, NotFoundError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import NOON, TEAM

STRANGERS = type(TEAM)("t2", "strangers", "Strangers", 3, 1)


@pytest.fixture
async def sandbox(core: Core) -> Sandbox:
    return await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))


async def _end(core: Core, sandbox: Sandbox) -> timedelta:
    found = await core.store.find(sandbox.sandbox_id)
    assert found is not None
    return found.end_at - NOON


async def test_timeout_may_shorten_and_node_knows_first(core: Core, sandbox: Sandbox) -> None:
    await core.extender.set_timeout(TEAM, sandbox.sandbox_id, 10)
    assert await _end(core, sandbox) == timedelta(seconds=10)
    assert core.nodes.calls[-1] == ("set_end", "n1", (NOON + timedelta(seconds=10)).isoformat())


async def test_timeout_is_capped_by_the_plan(core: Core, sandbox: Sandbox) -> None:
    core.clock.pass_by(minutes=2)
    await core.extender.set_timeout(TEAM, sandbox.sandbox_id, 24 * 3600)
    assert await _end(core, sandbox) == timedelta(hours=1)
    core.clock.pass_by(hours=1)
    with pytest.raises(InvalidError, match="Max instance length exceeded"):
        await core.extender.set_timeout(TEAM, sandbox.sandbox_id, 1)


async def test_connect_and_refresh_never_shorten(core: Core, sandbox: Sandbox) -> None:
    assert (await core.extender.connect(TEAM, sandbox.sandbox_id, 0)).end_at == sandbox.end_at
    await core.extender.refresh(TEAM, sandbox.sandbox_id, 20)
    assert await _end(core, sandbox) == timedelta(minutes=5)
    assert (await core.extender.connect(TEAM, sandbox.sandbox_id, 600)).end_at == NOON + timedelta(minutes=10)
    await core.extender.refresh(TEAM, sandbox.sandbox_id, 900)
    assert await _end(core, sandbox) == timedelta(minutes=15)


async def test_a_timeout_beyond_the_plan_is_refused_before_the_sandbox_is_looked_for(core: Core) -> None:
    with pytest.raises(InvalidError, match="Timeout cannot be greater than 1 hours"):
        await core.extender.connect(TEAM, "iabsent", 72 * 3600)


async def test_others_sandboxes_do_not_exist(core: Core, sandbox: Sandbox) -> None:
    for attempt in (
        core.extender.set_timeout(STRANGERS, sandbox.sandbox_id, 10),
        core.extender.connect(STRANGERS, sandbox.sandbox_id, 10),
        core.killer.kill(STRANGERS, sandbox.sandbox_id),
        core.killer.kill(TEAM, "iabsent"),
    ):
        with pytest.raises(NotFoundError, match="doesn't exist or you don't have access to it"):
            await attempt
    assert core.nodes.running


async def test_one_that_ended_by_itself_is_not_found(core: Core, sandbox: Sandbox) -> None:
    core.nodes.running.clear()
    with pytest.raises(NotFoundError):
        await core.extender.set_timeout(TEAM, sandbox.sandbox_id, 10)
    await core.killer.kill(TEAM, sandbox.sandbox_id)
    assert await core.store.find(sandbox.sandbox_id) is None


async def test_kill_unroutes_before_it_deletes(core: Core, sandbox: Sandbox) -> None:
    killing = asyncio.ensure_future(core.killer.kill(TEAM, sandbox.sandbox_id))
    while core.nodes.calls[-1][0] != "delete":
        await asyncio.sleep(0)
    assert core.routes.routes == {}
    with pytest.raises(ConflictError, match="is being killed"):
        await core.extender.connect(TEAM, sandbox.sandbox_id, 10)
    await killing
    assert core.nodes.calls[-1] == ("delete", "n1", "request")
    with pytest.raises(NotFoundError):
        await core.killer.kill(TEAM, sandbox.sandbox_id)


async def test_killing_it_many_times_at_once_kills_it_once(core: Core, sandbox: Sandbox) -> None:
    await asyncio.gather(*(core.killer.kill(TEAM, sandbox.sandbox_id) for _ in range(5)))
    assert [call[0] for call in core.nodes.calls].count("delete") == 1


async def test_an_impatient_caller_does_not_stop_the_kill(core: Core, sandbox: Sandbox) -> None:
    killing = asyncio.ensure_future(core.killer.kill(TEAM, sandbox.sandbox_id))
    while core.nodes.calls[-1][0] != "delete":
        await asyncio.sleep(0)
    killing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killing
    while await core.store.find(sandbox.sandbox_id) is not None:
        await asyncio.sleep(0)
    assert core.nodes.running == {}


async def test_a_node_that_does_not_answer_leaves_it_condemned(core: Core, sandbox: Sandbox) -> None:
    core.nodes.delete_error = UnavailableError("node is away")
    with pytest.raises(InternalError, match="Error killing sandbox: node is away"):
        await core.killer.kill(TEAM, sandbox.sandbox_id)
    found = await core.store.find(sandbox.sandbox_id)
    assert found is not None
    assert (found.state, found.end_at) == (SandboxState.RUNNING, core.clock.now)
    core.nodes.delete_error = None
    (due,) = await core.store.expired(core.clock.now, 10, core.clock.now)
    await core.expirer.expire(due)
    assert core.nodes.running == {}


@pytest.mark.parametrize("was_killed", [True, False])
async def test_one_on_a_node_that_never_comes_back_gives_its_place_back(core: Core, sandbox: Sandbox, was_killed: bool) -> None:
    """Data-plane contract §10.3: stale records are cut off after 10 minutes."""
    core.nodes.delete_error = NodeUnknownError("node n1 is not known")
    if was_killed:
        with pytest.raises(InternalError, match="node n1 is not known"):
            await core.killer.kill(TEAM, sandbox.sandbox_id)
    else:
        core.clock.pass_by(minutes=5)
    for _ in range(3):
        with pytest.raises(InternalError, match="node n1 is not known"):
            await core.expirer.expire(sandbox)
        core.clock.pass_by(minutes=3)
    core.nodes.delete_error = UnavailableError("node is away")  # known, so what became of it will be known
    core.clock.pass_by(minutes=3)
    with pytest.raises(InternalError, match="node is away"):
        await core.expirer.expire(sandbox)
    core.nodes.delete_error = NodeUnknownError("node n1 is not known")
    await core.expirer.expire(sandbox)
    assert await core.store.find(sandbox.sandbox_id) is None
    assert core.routes.routes == {}


async def test_one_that_was_extended_meanwhile_lives_on(core: Core, sandbox: Sandbox) -> None:
    core.clock.pass_by(minutes=5)
    (due,) = await core.store.expired(core.clock.now, 10, core.clock.now)
    await core.extender.connect(TEAM, sandbox.sandbox_id, 60)
    await core.expirer.expire(due)
    assert core.nodes.running
    core.clock.pass_by(minutes=1)
    await core.expirer.expire(due)
    assert core.nodes.calls[-1] == ("delete", "n1", "timeout")
