"""Records follow what the nodes run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbank.api.core.reconcile import NodeReconciler
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM, sandbox


@pytest.fixture
def events() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def reconciler(core: Core, events: list[tuple[str, str]]) -> NodeReconciler:
    def note(event: str, sandbox: Sandbox) -> None:
        events.append((event, sandbox.sandbox_id))

    return NodeReconciler(core.nodes, core.store, core.store, core.routes, core.paused.settle, note)


async def test_at_start_everything_is_adopted(core: Core, reconciler: NodeReconciler) -> None:
    core.nodes.running = {"i1": sandbox("i1"), "i2": sandbox("i2")}
    await reconciler.reconcile("n1", adopt_at_once=True)
    assert await core.store.find("i1") == sandbox("i1")
    assert set(core.routes.routes) == {"i1", "i2"}


async def test_what_vanished_is_forgotten_and_its_place_free(core: Core, reconciler: NodeReconciler, events: list[tuple[str, str]]) -> None:
    core.nodes.running = {"i1": sandbox("i1")}
    await reconciler.reconcile("n1", adopt_at_once=True)
    core.nodes.running = {}
    await reconciler.reconcile("n1")
    assert await core.store.find("i1") is None
    assert core.routes.routes == {}
    assert await core.store.reserve(TEAM.team_id, "i2", 1)
    assert events == [("sandbox adopted", "i1"), ("sandbox ended by itself", "i1")]


async def test_later_strangers_are_adopted_when_seen_twice(core: Core, reconciler: NodeReconciler) -> None:
    core.nodes.running = {"i1": sandbox("i1")}
    await reconciler.reconcile("n1")
    assert await core.store.find("i1") is None
    await reconciler.reconcile("n1")
    assert await core.store.find("i1") is not None


async def test_a_start_in_flight_is_nobodys_orphan(core: Core, reconciler: NodeReconciler) -> None:
    await core.store.reserve(TEAM.team_id, "i1", 1)
    core.nodes.running = {"i1": sandbox("i1")}
    for _ in range(3):
        await reconciler.reconcile("n1")
    assert await core.store.find("i1") is None


async def test_what_was_given_up_is_deleted(core: Core, reconciler: NodeReconciler) -> None:
    core.nodes.running = {"i1": sandbox("i1")}
    core.nodes.abandoned = {"exec-i1"}
    await reconciler.reconcile("n1")
    assert core.nodes.running == {}
    assert core.nodes.calls == [("delete", "n1", "orphaned")]


async def test_one_being_killed_is_left_to_its_killer(core: Core, reconciler: NodeReconciler) -> None:
    await core.store.add(sandbox("i1"))
    transition = await core.store.begin("i1", SandboxState.KILLING)
    assert transition is not None
    await reconciler.reconcile("n1")
    assert await core.store.find("i1") is not None
    await transition.complete()


async def test_an_older_execution_on_a_node_that_came_back_is_ended_when_seen_twice(
    core: Core, reconciler: NodeReconciler, events: list[tuple[str, str]]
) -> None:
    """It went on elsewhere while its node was away."""
    await core.store.add(replace(sandbox("i1"), node_id="n2", execution_id="newer"))
    core.nodes.running = {"i1": sandbox("i1")}
    await reconciler.reconcile("n1")
    assert core.nodes.running
    await reconciler.reconcile("n1")
    assert core.nodes.running == {}
    assert core.nodes.calls == [("delete", "n1", "orphaned")]
    assert events == [("older execution of a sandbox ended", "i1")]
    found = await core.store.find("i1")
    assert found is not None
    assert found.execution_id == "newer"


async def test_what_ran_on_a_lost_node_has_ended_and_its_place_is_free(core: Core, reconciler: NodeReconciler) -> None:
    core.nodes.running = {"i1": sandbox("i1")}
    await reconciler.reconcile("n1", adopt_at_once=True)
    await reconciler.lose("another")
    assert await core.store.find("i1") is not None
    await reconciler.lose("n1")
    assert await core.store.find("i1") is None
    assert core.routes.routes == {}
    assert await core.store.reserve(TEAM.team_id, "i2", 1)
