"""Snapshots as templates (rest-api contract §9.1), where records and nodes fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.snapshot_templates import SnapshotName, SnapshotQuery, SnapshotTemplate, SnapshotTemplates
from sandbank.api.core.team import Team
from sandbank.domain.errors import ConflictError, InternalError, InvalidError, SandbankError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.fakes import Core
from tests.unit.api.made import NOON, TEAM


class FakeRecords:
    """What was added; fails as often as told."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.errors: list[SandbankError] = []

    async def require_usable(self, team: Team, name: SnapshotName) -> None:
        return

    async def add(self, team: Team, sandbox: Sandbox, build_id: str, name: SnapshotName | None) -> SnapshotTemplate:
        if self.errors:
            raise self.errors.pop(0)
        self.added.append(build_id)
        return SnapshotTemplate("tpl", [], "default", NOON)

    async def list(self, team: Team, query: SnapshotQuery) -> Sequence[SnapshotTemplate]:
        return []


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords()


@pytest.fixture
def snapshots(core: Core, records: FakeRecords) -> SnapshotTemplates:
    return SnapshotTemplates(
        records=records,
        checkpointer=core.checkpointer,
        nodes=core.nodes,
        tasks=core.tasks,
    )


@pytest.fixture
async def parent(core: Core) -> Sandbox:
    return await core.creator.create(TEAM, CreateSandbox("base", 300, secure=True))


async def test_a_name_taken_at_the_same_moment_is_tried_again(snapshots: SnapshotTemplates, records: FakeRecords, parent: Sandbox) -> None:
    records.errors = [ConflictError("it exists already")]
    assert (await snapshots.take(TEAM, parent.sandbox_id, "saved")).snapshot_id == "tpl:default"


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([UnavailableError("the database does not answer")], UnavailableError), ([ConflictError("no"), ConflictError("no")], InternalError)],
)
async def test_a_save_that_cannot_be_noted_is_let_go_of(
    core: Core,
    snapshots: SnapshotTemplates,
    records: FakeRecords,
    parent: Sandbox,
    errors: list[SandbankError],
    expected: type[SandbankError],
) -> None:
    records.errors = errors
    with pytest.raises(expected):
        await snapshots.take(TEAM, parent.sandbox_id, "saved")
    assert (core.nodes.saves, records.added) == (set(), [])
    current = await core.store.find(parent.sandbox_id)
    assert current is not None
    assert current.state is SandboxState.RUNNING


async def test_one_that_is_lost_in_the_attempt_has_no_record(core: Core, snapshots: SnapshotTemplates, parent: Sandbox) -> None:
    """Data-plane contract §9.2."""
    core.nodes.pause_errors = [InternalError("the processes ended")]
    core.nodes.running.clear()
    with pytest.raises(InternalError, match="Error creating snapshot template: the processes ended"):
        await snapshots.take(TEAM, parent.sandbox_id, None)
    assert await core.store.find(parent.sandbox_id) is None


async def test_volumes_are_neither_saved_nor_added(core: Core, snapshots: SnapshotTemplates) -> None:
    """What runs on where a snapshot was taken has the mounts that were there, and no others."""
    await core.volumes.create(TEAM, "data")
    mounting = CreateSandbox("base", 300, secure=True, volume_mounts=[("data", "/data")])
    sandbox = await core.creator.create(TEAM, mounting)
    with pytest.raises(InvalidError, match="cannot be snapshotted because volumes are mounted"):
        await snapshots.take(TEAM, sandbox.sandbox_id, None)
    core.templates.template = replace(core.templates.template, snapshot_node_id="n1")
    with pytest.raises(InvalidError, match="no volumes can be mounted"):
        await core.creator.create(TEAM, mounting)
