"""Data-plane §7.4, the API's side: traffic for a sandbox that the catalog does not know."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.team import Team
from sandbank.api.core.wake import SandboxWaker, WakeRequest, require_credentials
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core, FakeRoutes
from tests.unit.api.made import TEAM, sandbox

ASK = WakeRequest("i1", 8080)


class _Accounts:
    def __init__(self, team: Team | None = TEAM) -> None:
        self.team = team

    async def find_team(self, team_id: str) -> Team | None:
        return self.team if team_id == TEAM.team_id else None

    async def find_team_by_key(self, key_hash: str) -> Team | None:
        return None

    async def find_user_by_token(self, token_hash: str) -> str | None:
        return None


def _waker(core: Core, team: Team | None = TEAM, transition_seconds: float = 5.0) -> SandboxWaker:
    return SandboxWaker(
        core.store,
        core.paused,
        core.resumer,
        _Accounts(team),
        core.routes,
        lambda node_id: f"host-of-{node_id}",
        transition_seconds=transition_seconds,
    )


async def test_a_running_sandbox_is_at_its_node_and_in_the_catalog_again(core: Core) -> None:
    """Step 3."""
    await core.store.add(sandbox("i1"))
    assert await _waker(core).wake(ASK) == "host-of-n1"
    assert core.routes.routes["i1"].execution_id == "exec-i1"


async def test_a_sandbox_without_a_snapshot_is_not_found(core: Core) -> None:
    """Step 1."""
    with pytest.raises(NotFoundError):
        await _waker(core).wake(ASK)
    assert core.routes.routes == {}


@pytest.mark.parametrize("team", [replace(TEAM, is_blocked=True), replace(TEAM, is_banned=True), None])
async def test_a_team_that_may_not_is_denied(core: Core, team: Team | None) -> None:
    """Step 2."""
    await core.store.add(sandbox("i1"))
    with pytest.raises(DeniedError):
        await _waker(core, team).wake(ASK)
    assert core.routes.routes == {}


async def test_a_sandbox_that_is_being_killed_is_not_found(core: Core) -> None:
    """Step 3: killing → NotFound, at once."""
    await core.store.add(sandbox("i1"))
    await core.store.begin("i1", SandboxState.KILLING)
    with pytest.raises(NotFoundError):
        await _waker(core).wake(ASK)


async def test_a_sandbox_between_two_states_is_waited_for(core: Core) -> None:
    """Step 3: the transition first, then again from the beginning."""
    await core.store.add(sandbox("i1"))
    transition = await core.store.begin("i1", SandboxState.SNAPSHOTTING)
    assert transition is not None
    waiting = asyncio.ensure_future(_waker(core).wake(ASK))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    await transition.complete()
    assert await waiting == "host-of-n1"


async def test_one_that_was_paused_meanwhile_is_not_found(core: Core) -> None:
    await core.store.add(sandbox("i1"))
    transition = await core.store.begin("i1", SandboxState.PAUSING)
    assert transition is not None
    waiting = asyncio.ensure_future(_waker(core).wake(ASK))
    await asyncio.sleep(0)
    await transition.complete()
    with pytest.raises(NotFoundError):
        await waiting


async def test_waiting_for_a_transition_has_an_end(core: Core) -> None:
    """Step 3: the text is what the client proxy looks for."""
    await core.store.add(sandbox("i1"))
    await core.store.begin("i1", SandboxState.PAUSING)
    with pytest.raises(ConflictError, match=r"^sandbox is still transitioning$"):
        await _waker(core, transition_seconds=0.05).wake(ASK)


async def _asleep(core: Core, timeout_seconds: int = 420, **options: Any) -> str:
    """The ID of a paused sandbox."""
    request = CreateSandbox("base", timeout_seconds, secure=True, **({"auto_resume": True} | options))
    sandbox = await core.creator.create(TEAM, request)
    await core.pauser.pause(TEAM, sandbox.sandbox_id)
    return sandbox.sandbox_id


async def test_traffic_wakes_a_paused_sandbox_once(core: Core) -> None:
    """Step 6."""
    sandbox_id = await _asleep(core)
    wakes = (_waker(core).wake(WakeRequest(sandbox_id, 8080)) for _ in range(5))
    assert set(await asyncio.gather(*wakes)) == {"host-of-n1"}
    assert [call[0] for call in core.nodes.calls].count("create") == 2
    assert set(core.routes.routes) == {sandbox_id}


async def test_traffic_does_not_boot_one_without_memory(core: Core) -> None:
    """Step 2."""
    sandbox = await core.creator.create(TEAM, CreateSandbox("base", 420, secure=True, auto_resume=True))
    await core.pauser.pause(TEAM, sandbox.sandbox_id, memory=False)
    with pytest.raises(ConflictError, match="filesystem-only snapshot must be resumed explicitly"):
        await _waker(core).wake(WakeRequest(sandbox.sandbox_id, 8080))
    assert core.nodes.running == {}


@pytest.mark.parametrize(("created_seconds", "woken_seconds"), [(420, 420), (15, 300), (3600, 3600)])
async def test_it_is_woken_for_the_timeout_of_its_creation(core: Core, created_seconds: int, woken_seconds: int) -> None:
    """Step 5: whatever was set since, and five minutes at least."""
    sandbox_id = await _asleep(core, created_seconds)
    await core.resumer.connect(TEAM, sandbox_id, 600)
    await core.pauser.pause(TEAM, sandbox_id)
    await _waker(core).wake(WakeRequest(sandbox_id, 8080))
    woken = await core.store.find(sandbox_id)
    assert woken is not None
    assert (woken.end_at - core.clock()).total_seconds() == woken_seconds


async def test_it_is_woken_for_no_longer_than_the_plan_allows(core: Core) -> None:
    sandbox_id = await _asleep(core, 3600)
    shorter = replace(TEAM, max_length_hours=0.5)  # type: ignore[arg-type]  # any number does
    await _waker(core, shorter).wake(WakeRequest(sandbox_id, 8080))
    woken = await core.store.find(sandbox_id)
    assert woken is not None
    assert (woken.end_at - core.clock()).total_seconds() == 1800


async def test_without_the_policy_it_sleeps_on(core: Core) -> None:
    """Step 1."""
    sandbox_id = await _asleep(core, auto_resume=False)
    with pytest.raises(NotFoundError, match=r"^sandbox auto-resume disabled$"):
        await _waker(core).wake(WakeRequest(sandbox_id, 8080))
    assert core.nodes.running == {}


async def test_strangers_and_the_blocked_wake_nobody(core: Core) -> None:
    """Steps 2 and 4: credentials are asked for before anything boots."""
    sandbox_id = await _asleep(core, network={"allowPublicTraffic": False})
    for waker, request in (
        (_waker(core), WakeRequest(sandbox_id, 8080, traffic_token="wrong")),
        (_waker(core), WakeRequest(sandbox_id, 49983, traffic_token=core.tokens.traffic(sandbox_id))),
        (_waker(core, replace(TEAM, is_blocked=True)), WakeRequest(sandbox_id, 8080, traffic_token=core.tokens.traffic(sandbox_id))),
    ):
        with pytest.raises(DeniedError):
            await waker.wake(request)
    assert core.nodes.running == {}
    await _waker(core).wake(WakeRequest(sandbox_id, 49983, agent_token=core.tokens.envd(sandbox_id)))
    assert set(core.nodes.running) == {sandbox_id}


async def test_a_team_at_its_limit_hears_so(core: Core) -> None:
    """Step 6: ResourceExhausted."""
    sandbox_id = await _asleep(core)
    for _ in range(TEAM.concurrent_sandboxes):
        await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))
    with pytest.raises(ExhaustedError):
        await _waker(core).wake(WakeRequest(sandbox_id, 8080))


SECURED = replace(sandbox("i1"), traffic_access_token="traffic", envd_access_token="agent")


@pytest.mark.parametrize(
    ("owner", "ask", "granted"),
    [
        (sandbox("i1"), WakeRequest("i1", 8080), True),
        (sandbox("i1"), WakeRequest("i1", 49983), True),
        (SECURED, WakeRequest("i1", 8080, traffic_token="traffic"), True),
        (SECURED, WakeRequest("i1", 49983, agent_token="agent"), True),
        (SECURED, WakeRequest("i1", 8080), False),
        (SECURED, WakeRequest("i1", 8080, traffic_token="agent", agent_token="agent"), False),
        (SECURED, WakeRequest("i1", 49983, traffic_token="traffic"), False),
        (SECURED, WakeRequest("i1", 49983, agent_token="traffic"), False),
        (replace(SECURED, traffic_access_token=None), WakeRequest("i1", 8080), True),
    ],
)
async def test_each_port_asks_for_its_own_token(core: Core, owner: Sandbox, ask: WakeRequest, granted: bool) -> None:
    """Step 4; strangers do not get to wait for a transition."""
    if granted:
        require_credentials(owner, ask)
        return
    with pytest.raises(DeniedError, match=r"^permission denied$"):
        require_credentials(owner, ask)
    await core.store.add(owner)
    await core.store.begin("i1", SandboxState.PAUSING)
    with pytest.raises(DeniedError):
        await _waker(core).wake(ask)


async def test_a_running_sandbox_is_not_asked_for_tokens_here(core: Core) -> None:
    """Steps 3 before 4: signed URLs and /health carry none, and the node's proxy has pages of its own."""
    await core.store.add(SECURED)
    assert await _waker(core).wake(WakeRequest("i1", 49983)) == "host-of-n1"


async def test_a_kill_that_meets_the_repair_of_the_catalog_wins(core: Core) -> None:
    """§6.3: a killed sandbox must not be routable again."""

    class _SlowRoutes(FakeRoutes):
        async def put(self, sandbox: Sandbox) -> None:
            await asyncio.sleep(0.05)  # the kill removes the route meanwhile
            await super().put(sandbox)

    core.routes = _SlowRoutes()
    await core.store.add(sandbox("i1"))
    waiting = asyncio.ensure_future(_waker(core).wake(ASK))
    await asyncio.sleep(0.01)
    transition = await core.store.begin("i1", SandboxState.KILLING)
    assert transition is not None
    await core.routes.remove(sandbox("i1"))
    await transition.complete()
    with pytest.raises(NotFoundError):
        await waiting
    assert core.routes.routes == {}
