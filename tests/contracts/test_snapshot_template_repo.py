"""Snapshot templates on both databases (contract templates-and-data §2.6)."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.snapshot_template_repo import SnapshotTemplateRepo
from sandbank.api.adapters.template_directory_repo import TemplateDirectoryRepo
from sandbank.api.adapters.template_removal_repo import TemplateRemovalRepo
from sandbank.api.adapters.template_repo import TemplateRepo
from sandbank.api.core.snapshot_templates import SnapshotName, SnapshotQuery, SnapshotTemplate
from sandbank.api.core.team import Team
from sandbank.api.core.template_directory import TemplateCaller, TemplateOwnership
from sandbank.db.database import Database
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild
from sandbank.db.models_templates import SnapshotTemplate as Row
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_local_development
from sandbank.domain import development
from sandbank.domain.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.template_reference import parse_template_reference
from tests.unit.api.made import sandbox

TEAM = Team(development.TEAM_ID, development.TEAM_SLUG, "Ours", 10, 1)
STRANGERS = Team(str(uuid.uuid4()), "strangers", "Strangers", 10, 1)
SAVED = SnapshotName("saved", "default")
BASE_BUILD = str(uuid.uuid4())


@pytest.fixture
async def parent(database: Database) -> Sandbox:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    await register_base_template(database.sessions, BASE_BUILD, 2, 1024, 10240, "0.6.13")
    async with database.sessions.begin() as session:
        (build,) = (await session.scalars(select(EnvBuild))).all()
        build.cpu_model, build.kernel_version = "85", "vmlinux-x"
        base = (await session.scalars(select(Env.id))).one()
    return replace(sandbox("i1", vcpu=4, ram_mb=2048), team_id=TEAM.team_id, template_id=base, build_id=BASE_BUILD)


@pytest.fixture
def repo(database: Database) -> SnapshotTemplateRepo:
    return SnapshotTemplateRepo(database.sessions, lambda: None)


async def add(repo: SnapshotTemplateRepo, parent: Sandbox, name: SnapshotName | None = None) -> tuple[SnapshotTemplate, str]:
    build_id = str(uuid.uuid4())
    return await repo.add(TEAM, parent, build_id, name), build_id


async def test_what_a_snapshot_is_in_rows(repo: SnapshotTemplateRepo, parent: Sandbox, database: Database) -> None:
    taken, build_id = await add(repo, parent)
    assert (taken.snapshot_id, taken.names) == (f"{taken.template_id}:default", [])
    async with database.sessions() as session:
        env, row = await session.get(Env, taken.template_id), await session.get(Row, taken.template_id)
        build = await session.get(EnvBuild, uuid.UUID(build_id))
    assert env is not None
    assert (env.source, env.public, env.build_count, str(env.team_id)) == ("snapshot_template", False, 1, TEAM.team_id)
    assert row is not None
    assert (row.sandbox_id, row.origin_node_id, str(row.build_id)) == ("i1", "n1", build_id)
    assert build is not None
    assert (build.status_group, build.cluster_node_id, build.vcpu, build.ram_mb) == ("ready", "n1", 4, 2048)
    assert (build.cpu_model, build.kernel_version) == ("85", "vmlinux-x")


async def test_its_team_finds_it_as_a_template_with_its_node_and_nobody_else(
    repo: SnapshotTemplateRepo, parent: Sandbox, database: Database
) -> None:
    """REST contract §4.3. What another process has changed is seen at once."""
    tasks = TaskGroup("test", lambda name, error: None)
    templates = TemplateRepo(database.sessions, tasks)
    taken, _ = await add(repo, parent, SAVED)
    reference = parse_template_reference(taken.snapshot_id)
    assert (await templates.get(TEAM, reference)).snapshot_node_id == "n1"
    _, newer = await add(repo, replace(parent, node_id="n2"), SAVED)
    found = await templates.get(TEAM, parse_template_reference("saved"))
    assert (found.build_id, found.snapshot_node_id, found.template_id) == (newer, "n2", taken.template_id)
    assert (await templates.get(TEAM, parse_template_reference("base"))).snapshot_node_id is None
    for text in ("saved", taken.snapshot_id, taken.template_id):
        with pytest.raises(NotFoundError):
            await templates.get(STRANGERS, parse_template_reference(text))
    await TemplateRemovalRepo(database.sessions, lambda: None).delete(taken.template_id)
    with pytest.raises(NotFoundError):
        await templates.get(TEAM, reference)
    await tasks.close()


async def test_two_first_snapshots_of_a_name_make_one_template(repo: SnapshotTemplateRepo, parent: Sandbox, database: Database) -> None:
    results = await asyncio.gather(add(repo, parent, SAVED), add(repo, parent, SAVED), return_exceptions=True)
    assert all(isinstance(one, ConflictError) for one in results if isinstance(one, BaseException)), results
    await add(repo, parent, SAVED)
    async with database.sessions() as session:
        assert len((await session.scalars(select(EnvAlias).where(EnvAlias.alias == "saved"))).all()) == 1
        assert len((await session.scalars(select(Env).where(Env.source == "snapshot_template"))).all()) == 1


async def test_a_template_that_is_no_snapshot_keeps_its_name(repo: SnapshotTemplateRepo, parent: Sandbox, database: Database) -> None:
    async with database.sessions.begin() as session:
        session.add(EnvAlias(alias="mine", namespace=TEAM.slug, env_id=parent.template_id))
    name = SnapshotName("mine", "default")
    with pytest.raises(InvalidError, match=r"'.*/mine' is a template that is no snapshot"):
        await repo.require_usable(TEAM, name)
    with pytest.raises(InvalidError):
        await add(repo, parent, name)


async def test_what_is_deleted_is_the_teams_own_snapshot(repo: SnapshotTemplateRepo, parent: Sandbox, database: Database) -> None:
    """REST contract §9.3: all its builds go, for every tag."""
    taken, first = await add(repo, parent, SAVED)
    _, second = await add(repo, replace(parent, node_id="n2"), SnapshotName("saved", "v1"))
    own = TemplateOwnership(TemplateDirectoryRepo(database.sessions, lambda: None)).own
    with pytest.raises(DeniedError, match="You don't have access"):
        await own(TemplateCaller(STRANGERS), taken.template_id)
    for text in ("saved", taken.names[0]):
        with pytest.raises(NotFoundError, match="not found"):
            await own(TemplateCaller(STRANGERS), text)
        assert (await own(TemplateCaller(TEAM), text)).template_id == taken.template_id
    removals = TemplateRemovalRepo(database.sessions, lambda: None)
    assert sorted(await removals.delete(taken.template_id)) == sorted([("n1", first), ("n2", second)])
    assert await repo.list(TEAM, SnapshotQuery()) == []
    with pytest.raises(NotFoundError):
        await own(TemplateCaller(TEAM), "saved")
    again, _ = await add(repo, parent, SAVED)
    assert again.template_id != taken.template_id


async def test_a_team_sees_its_own_and_no_paused_sandboxes(repo: SnapshotTemplateRepo, parent: Sandbox) -> None:
    taken = [(await add(repo, replace(parent, sandbox_id=of)))[0] for of in ("i1", "i2", "i1")]
    assert [one.template_id for one in await repo.list(TEAM, SnapshotQuery())] == [one.template_id for one in reversed(taken)]
    assert await repo.list(STRANGERS, SnapshotQuery()) == []
    assert [one.template_id for one in await repo.list(TEAM, SnapshotQuery(sandbox_id="i2"))] == [taken[1].template_id]
