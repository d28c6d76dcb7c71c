"""Forking (rest-api contract §9.4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.identity import IamToken
from sandbank.api.core.team import Team
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
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


@pytest.fixture
async def parent(core: Core) -> Sandbox:
    request = CreateSandbox(
        "base",
        300,
        secure=True,
        metadata={"of": "parent"},
        network={"allowPublicTraffic": False},
        auto_pause=True,
        iam_tokens={"cloud": IamToken("audience", "JWT-SVID")},
    )
    return await core.creator.create(TEAM, request)


async def test_forks_are_new_sandboxes_with_what_the_parent_was_told(core: Core, parent: Sandbox) -> None:
    (fork,) = await core.forker.fork(TEAM, parent.sandbox_id, 60, 1)
    assert isinstance(fork, Sandbox)
    assert fork.sandbox_id != parent.sandbox_id
    assert fork.envd_access_token == core.tokens.envd(fork.sandbox_id)
    assert fork.traffic_access_token == core.tokens.traffic(fork.sandbox_id)
    assert (fork.metadata, fork.network, fork.auto_pause) == (parent.metadata, parent.network, True)
    assert (fork.template_id, fork.node_id, fork.requested_timeout_seconds) == (parent.template_id, parent.node_id, 60)
    assert fork.iam_tokens == {}, "identities are not inherited"
    current = await core.store.find(parent.sandbox_id)
    assert current is not None
    assert (current.state, current.end_at) == (SandboxState.RUNNING, parent.end_at)
    assert core.nodes.saves == set(), "nobody needs the save any more"


async def test_each_has_an_answer_of_its_own(core: Core, parent: Sandbox) -> None:
    """A quota that is reached on the way costs those that come after, and nothing else."""
    count = TEAM.concurrent_sandboxes - 1
    other = await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))
    results = await core.forker.fork(TEAM, parent.sandbox_id, 60, count)
    assert len(results) == count
    failed = [result for result in results if not isinstance(result, Sandbox)]
    assert [type(result) for result in failed] == [ExhaustedError]
    await core.killer.kill(TEAM, other.sandbox_id)


@pytest.mark.parametrize(
    ("count", "seconds", "words"),
    [
        (0, 60, "Count must be at least 1"),
        (101, 60, "Count cannot be greater than 100"),
        (1, 0, "Timeout must be greater than 0"),
        (TEAM.concurrent_sandboxes, 60, "Count must be lower than the maximum number of concurrent sandboxes"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_saved(
    core: Core, parent: Sandbox, count: int, seconds: int, words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        await core.forker.fork(TEAM, parent.sandbox_id, seconds, count)
    assert ("checkpoint", parent.node_id) not in core.nodes.calls


async def test_a_paused_one_is_to_be_resumed_first_and_anothers_is_not_there(core: Core, parent: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        await core.forker.fork(STRANGERS, parent.sandbox_id, 60, 1)
    await core.pauser.pause(TEAM, parent.sandbox_id)
    with pytest.raises(ConflictError, match="is paused and cannot be forked; resume it first"):
        await core.forker.fork(TEAM, parent.sandbox_id, 60, 1)
    with pytest.raises(NotFoundError):
        await core.forker.fork(TEAM, "inobodyknows", 60, 1)


@pytest.mark.parametrize(
    ("failure", "expected", "words"),
    [
        (ConflictError("a process uses io_uring"), ConflictError, "a process uses io_uring"),
        (UnavailableError("the disk is full"), UnavailableError, "its node is busy, please retry"),
        (DeadlineError("no answer"), UnavailableError, "please retry"),
        (NotFoundError("sandbox not found"), NotFoundError, "doesn't exist"),
    ],
)
async def test_one_that_cannot_be_saved_runs_on(
    core: Core, parent: Sandbox, failure: SandbankError, expected: type[Exception], words: str
) -> None:
    core.nodes.pause_errors = [failure]
    with pytest.raises(expected, match=words):
        await core.forker.fork(TEAM, parent.sandbox_id, 60, 1)
    current = await core.store.find(parent.sandbox_id)
    assert current is not None
    assert current.state is SandboxState.RUNNING


async def test_pause_and_kill_wait_for_it_and_a_second_fork_is_refused(core: Core, parent: Sandbox) -> None:
    core.nodes.pause_gate = asyncio.Event()
    forking = asyncio.ensure_future(core.forker.fork(TEAM, parent.sandbox_id, 60, 1))
    while core.nodes.calls[-1][0] != "checkpoint":
        await asyncio.sleep(0)
    with pytest.raises(ConflictError, match="'snapshotting' state"):
        await core.forker.fork(TEAM, parent.sandbox_id, 60, 1)
    killing = asyncio.ensure_future(core.killer.kill(TEAM, parent.sandbox_id))
    await asyncio.sleep(0)
    assert not killing.done()
    core.nodes.pause_gate.set()
    (fork,) = await forking
    await killing
    assert isinstance(fork, Sandbox)
    assert await core.store.find(parent.sandbox_id) is None


async def test_one_that_is_lost_in_the_attempt_has_no_record(core: Core, parent: Sandbox) -> None:
    """Data-plane contract §9.2."""
    core.nodes.pause_errors = [InternalError("the processes ended")]
    core.nodes.running.clear()
    with pytest.raises(InternalError, match="Error forking sandbox: the processes ended"):
        await core.forker.fork(TEAM, parent.sandbox_id, 60, 1)
    assert await core.store.find(parent.sandbox_id) is None
    assert core.routes.routes == {}


async def test_an_agent_that_is_too_old_for_it_is_named(core: Core) -> None:
    core.templates.template = replace(core.templates.template, envd_version="0.4.9")
    old = await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))
    with pytest.raises(InvalidError, match=r"must be at least 0\.5\.0 to fork sandboxes, current version: 0\.4\.9"):
        await core.forker.fork(TEAM, old.sandbox_id, 60, 1)
