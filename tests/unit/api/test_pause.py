"""Pausing (rest-api contract §8.0, §8.6, §11; data-plane contract §9.2)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbank.api.background.paused_retention import PausedRetention
from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.listing import ListSandboxes
from sandbank.api.core.reconcile import NodeReconciler
from sandbank.api.core.team import Team
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InternalError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import NOON, TEAM

STRANGERS = Team("t2", "strangers", "Strangers", 3, 1)


@pytest.fixture
async def sandbox(core: Core) -> Sandbox:
    return await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True, auto_pause=True))


async def _paused(core: Core) -> list[str]:
    return [one.sandbox_id for one in (await core.lister.page(TEAM, ListSandboxes(states=frozenset({"paused"})))).sandboxes]


async def _waiting(core: Core) -> None:
    while core.nodes.calls[-1][0] != "pause":
        await asyncio.sleep(0)


async def test_a_paused_sandbox_has_a_save_but_no_record_route_or_place(core: Core, sandbox: Sandbox) -> None:
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    assert await core.store.find(sandbox.sandbox_id) is None
    assert core.routes.routes == {}
    assert core.nodes.running == {}
    assert await _paused(core) == [sandbox.sandbox_id]
    for _ in range(TEAM.concurrent_sandboxes):
        await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))


async def test_it_is_unroutable_and_listed_as_paused_before_its_node_is_asked(core: Core, sandbox: Sandbox) -> None:
    core.nodes.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(core.pauser.pause(TEAM, sandbox.sandbox_id))
    await _waiting(core)
    assert core.routes.routes == {}
    assert not core.snapshots.saves[sandbox.sandbox_id][0].is_ready
    assert await _paused(core) == [sandbox.sandbox_id]
    core.nodes.pause_gate.set()
    await pausing
    assert await _paused(core) == [sandbox.sandbox_id]


async def test_many_pauses_at_once_all_succeed_and_pause_once(core: Core, sandbox: Sandbox) -> None:
    await asyncio.gather(*(core.pauser.pause(TEAM, sandbox.sandbox_id) for _ in range(20)))
    assert [call[0] for call in core.nodes.calls].count("pause") == 1


async def test_who_cannot_be_paused_is_told_so(core: Core, sandbox: Sandbox) -> None:
    for team, sandbox_id in ((STRANGERS, sandbox.sandbox_id), (TEAM, "iabsent")):
        with pytest.raises(NotFoundError, match="doesn't exist or you don't have access to it"):
            await core.pauser.pause(team, sandbox_id)
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    with pytest.raises(ConflictError, match=f"^Error pausing sandbox - sandbox '{sandbox.sandbox_id}' is already paused$"):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    with pytest.raises(NotFoundError):
        await core.pauser.pause(STRANGERS, sandbox.sandbox_id)


@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        (ConflictError("an io_uring is open"), ConflictError),
        (UnavailableError("the disk is full"), UnavailableError),
        (ExhaustedError("too many pauses"), UnavailableError),
        (DeadlineError("too slow"), UnavailableError),
        (InternalError("it broke, but the sandbox is there"), InternalError),
    ],
)
async def test_after_a_refusal_it_runs_on_and_can_be_paused_later(
    core: Core, sandbox: Sandbox, refusal: SandbankError, answer: type[SandbankError]
) -> None:
    core.nodes.pause_errors.append(refusal)
    with pytest.raises(answer, match=refusal.message):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    assert await core.store.find(sandbox.sandbox_id) == sandbox
    assert set(core.routes.routes) == {sandbox.sandbox_id}
    assert await _paused(core) == []
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    assert await _paused(core) == [sandbox.sandbox_id]


async def test_everyone_who_waited_hears_the_reason(core: Core, sandbox: Sandbox) -> None:
    core.nodes.pause_errors.append(ConflictError("an io_uring is open"))
    outcomes = await asyncio.gather(*(core.pauser.pause(TEAM, sandbox.sandbox_id) for _ in range(3)), return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"Error pausing sandbox: an io_uring is open"}


@pytest.mark.parametrize("answer", [InternalError("lost"), NotFoundError("sandbox not found")])
async def test_one_that_is_lost_is_forgotten(core: Core, sandbox: Sandbox, answer: SandbankError) -> None:
    core.nodes.pause_errors.append(answer)
    core.nodes.running.clear()
    with pytest.raises((InternalError, NotFoundError)):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    assert await core.store.find(sandbox.sandbox_id) is None
    assert core.routes.routes == {}
    with pytest.raises(NotFoundError):
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 300)


async def test_a_database_that_fails_leaves_it_running(core: Core, sandbox: Sandbox) -> None:
    for failure, answer in ((UnavailableError("away"), UnavailableError), (ConflictError("no such template"), InternalError)):
        core.snapshots.error = failure
        with pytest.raises(answer):
            await core.pauser.pause(TEAM, sandbox.sandbox_id)
        assert await core.store.find(sandbox.sandbox_id) == sandbox
    assert core.nodes.calls[-1][0] != "pause"


async def test_a_pause_whose_answer_was_lost_is_found_out(core: Core, sandbox: Sandbox) -> None:
    """The node saved it; we heard of a failure, later of a sandbox that runs no more."""
    core.nodes.pause_errors.append(UnavailableError("the connection broke"))
    with pytest.raises(UnavailableError):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    core.nodes.saves.add(core.snapshots.saves[sandbox.sandbox_id][0].build_id)
    core.nodes.running.clear()
    reconciler = NodeReconciler(core.nodes, core.store, core.store, core.routes, core.paused.settle, lambda event, one: None)
    await reconciler.reconcile("n1")
    assert await _paused(core) == [sandbox.sandbox_id]


async def test_pausing_again_after_a_lost_answer_succeeds(core: Core, sandbox: Sandbox) -> None:
    core.nodes.pause_errors.append(DeadlineError("no answer"))
    with pytest.raises(UnavailableError):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
    core.nodes.saves.add(core.snapshots.saves[sandbox.sandbox_id][0].build_id)
    core.nodes.running.clear()
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    assert await _paused(core) == [sandbox.sandbox_id]
    assert await core.store.find(sandbox.sandbox_id) is None


async def test_an_api_that_is_stopped_amid_a_pause_forgets_nobody(core: Core, sandbox: Sandbox) -> None:
    """What became of it is for those to find out who compare records and nodes."""
    core.nodes.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(core.pauser.pause(TEAM, sandbox.sandbox_id))
    await _waiting(core)
    await core.tasks.close()
    await asyncio.gather(pausing, return_exceptions=True)
    assert await core.store.find(sandbox.sandbox_id) == sandbox
    assert not core.snapshots.saves[sandbox.sandbox_id][0].is_ready


async def test_an_api_that_died_in_between_finds_out_at_its_start(core: Core, sandbox: Sandbox) -> None:
    for sandbox_id, build_id in ((sandbox.sandbox_id, "saved"), ("iother", "lost")):
        await core.snapshots.begin(replace(sandbox, sandbox_id=sandbox_id), build_id)
    core.nodes.saves.add("saved")
    core.nodes.running.clear()
    await core.store.forget(sandbox.sandbox_id, sandbox.execution_id)
    await core.paused.settle_all()
    assert await _paused(core) == [sandbox.sandbox_id]
    assert await core.snapshots.find("iother") is None


async def test_a_kill_that_meets_a_pause_waits_and_kills_the_save_too(core: Core, sandbox: Sandbox) -> None:
    core.nodes.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(core.pauser.pause(TEAM, sandbox.sandbox_id))
    await _waiting(core)
    killing = asyncio.ensure_future(core.killer.kill(TEAM, sandbox.sandbox_id))
    await asyncio.sleep(0.01)
    core.nodes.pause_gate.set()
    await asyncio.gather(pausing, killing)
    assert (core.snapshots.saves, core.nodes.saves) == ({}, set())


async def test_killing_a_paused_sandbox_deletes_its_save(core: Core, sandbox: Sandbox) -> None:
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    with pytest.raises(NotFoundError):
        await core.killer.kill(STRANGERS, sandbox.sandbox_id)
    await asyncio.gather(*(core.killer.kill(TEAM, sandbox.sandbox_id) for _ in range(3)))
    assert (core.snapshots.saves, core.nodes.saves) == ({}, set())
    for attempt in (core.killer.kill(TEAM, sandbox.sandbox_id), core.resumer.resume(TEAM, sandbox.sandbox_id, 15)):
        with pytest.raises(NotFoundError):
            await attempt


async def test_killing_one_that_runs_again_deletes_its_save_too(core: Core, sandbox: Sandbox) -> None:
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    await core.resumer.connect(TEAM, sandbox.sandbox_id, 300)
    await core.killer.kill(TEAM, sandbox.sandbox_id)
    assert (core.snapshots.saves, core.nodes.saves, core.nodes.running) == ({}, set(), {})


async def test_at_its_end_it_is_paused_if_that_was_asked_for(core: Core, sandbox: Sandbox) -> None:
    core.clock.pass_by(minutes=5)
    (due,) = await core.store.expired(core.clock(), 10, core.clock())
    await core.expirer.expire(due)
    assert await _paused(core) == [sandbox.sandbox_id]


@pytest.mark.parametrize("memory", [True, False])
async def test_what_is_saved_is_what_was_asked_for(core: Core, sandbox: Sandbox, memory: bool) -> None:
    await core.pauser.pause(TEAM, sandbox.sandbox_id, memory=memory)
    assert (core.nodes.without_memory == core.nodes.saves) is not memory
    saved = await core.paused.get_own(TEAM, sandbox.sandbox_id)
    assert saved.sandbox.has_memory is memory
    back, _ = await core.resumer.connect(TEAM, sandbox.sandbox_id, 60)
    assert (back.has_memory, back.auto_pause_memory) == (True, True)


@pytest.mark.parametrize(
    ("wish", "by_default", "pauses"), [(None, True, True), (None, False, False), (False, True, False), (True, False, True)]
)
async def test_what_the_client_wants_at_the_end_counts_more_than_the_deployments_choice(
    core: Core, wish: bool | None, by_default: bool, pauses: bool
) -> None:
    core.creator._pauses_by_default = by_default
    made = await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True, auto_pause=wish))
    core.clock.pass_by(minutes=5)
    await core.expirer.expire(made)
    assert (await _paused(core) == [made.sandbox_id]) is pauses
    assert core.nodes.running == {}


async def test_at_its_end_its_memory_is_saved_unless_it_was_not_to_be(core: Core) -> None:
    made = await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True, auto_pause=True, auto_pause_memory=False))
    core.clock.pass_by(minutes=5)
    await core.expirer.expire(made)
    assert core.nodes.without_memory == core.nodes.saves != set()
    back, _ = await core.resumer.connect(TEAM, made.sandbox_id, 60)
    assert back.auto_pause_memory is False


async def test_one_that_cannot_be_paused_at_its_end_runs_on_for_a_while_and_no_longer(core: Core, sandbox: Sandbox) -> None:
    core.nodes.pause_errors = [ConflictError("an io_uring is open")] * 2
    core.clock.pass_by(minutes=5)
    with pytest.raises(ConflictError):
        await core.expirer.expire(sandbox)
    current = await core.store.find(sandbox.sandbox_id)
    assert current is not None
    assert (current.state, (current.end_at - NOON).total_seconds()) == (SandboxState.RUNNING, 330)
    core.clock.pass_by(minutes=66)  # the team's plan has an hour
    await core.expirer.expire(current)
    assert core.nodes.calls[-1] == ("delete", "n1", "timeout")
    assert core.nodes.running == {}


async def test_one_that_nobody_resumed_is_kept_for_as_long_as_the_deployment_says_and_for_ever_by_default(core: Core) -> None:
    ids = [(await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))).sandbox_id for _ in range(3)]
    for sandbox_id in ids:
        await core.pauser.pause(TEAM, sandbox_id)
    old, resumed, again = ids
    core.clock.pass_by(minutes=30 * 24 * 60)
    for sandbox_id in (resumed, again):
        await core.resumer.connect(TEAM, sandbox_id, 300)
    await core.pauser.pause(TEAM, again)
    core.clock.pass_by(minutes=1)
    events: list[tuple[str, str]] = []

    def retention(days: int) -> PausedRetention:
        on_event = lambda event, one: events.append((event, one.sandbox_id))  # noqa: E731
        return PausedRetention(
            core.snapshots, core.killer, timedelta(days=days), core.clock, on_event, lambda name, error: core.errors.append(error)
        )

    await retention(0).sweep()
    assert set(core.snapshots.saves) == set(ids)
    await retention(30).sweep()
    assert set(core.snapshots.saves) == {resumed, again}
    assert events == [("paused sandbox killed: kept for long enough", old)]
    assert core.nodes.saves == {core.snapshots.saves[one][-1].build_id for one in (resumed, again)}
    core.snapshots.error = UnavailableError("away")
    await retention(30).sweep()
    assert core.errors == [core.snapshots.error]


async def test_one_that_is_paused_while_it_is_looked_at_is_kept(core: Core, sandbox: Sandbox) -> None:
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    core.clock.pass_by(minutes=60)
    await core.resumer.connect(TEAM, sandbox.sandbox_id, 300)
    core.nodes.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(core.pauser.pause(TEAM, sandbox.sandbox_id))
    await _waiting(core)
    assert await core.killer.kill_saved_before(sandbox.sandbox_id, core.clock()) is None
    core.nodes.pause_gate.set()
    await pausing
    assert await core.killer.kill_saved_before(sandbox.sandbox_id, core.clock()) is None
    assert await _paused(core) == [sandbox.sandbox_id]


async def test_the_list_has_it_once_in_whatever_state(core: Core, sandbox: Sandbox) -> None:
    """§8.5: a sandbox being paused appears exactly once."""
    for _ in range(3):
        await core.pauser.pause(TEAM, sandbox.sandbox_id)
        page = await core.lister.page(TEAM, ListSandboxes())
        assert [(one.sandbox_id, one.state) for one in page.sandboxes] == [(sandbox.sandbox_id, SandboxState.PAUSED)]
        assert page.total_running == 0
        await core.resumer.connect(TEAM, sandbox.sandbox_id, 300)
        page = await core.lister.page(TEAM, ListSandboxes())
        assert [(one.sandbox_id, one.state) for one in page.sandboxes] == [(sandbox.sandbox_id, SandboxState.RUNNING)]
