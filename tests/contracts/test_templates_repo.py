"""Templates by name, their lists, tags and ends, on both databases (contract templates-and-data §0.2, §1.11, §12.3)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.default_template_repo import DefaultTemplateRepo
from sandbank.api.adapters.template_build_repo import TemplateBuildRepo
from sandbank.api.adapters.template_build_rows import SUPERSEDED
from sandbank.api.adapters.template_directory_repo import TemplateDirectoryRepo
from sandbank.api.adapters.template_removal_repo import TemplateRemovalRepo
from sandbank.api.adapters.template_repo import TemplateRepo
from sandbank.api.adapters.template_shelf_repo import TemplateShelfRepo
from sandbank.api.adapters.template_tag_repo import TemplateTagRepo
from sandbank.api.core.pagination import Cursor
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import BuildResult, BuildState, RequestedBuild
from sandbank.api.core.template_tags import TagCursor, TagOrder, TagQuery
from sandbank.db.database import Database
from sandbank.db.models_accounts import Team as TeamRow
from sandbank.db.models_templates import EnvAlias, EnvDefault
from sandbank.db.schema import upgrade
from sandbank.db.seed import ensure_default_template, register_base_template, seed_local_development
from sandbank.domain.errors import NotFoundError
from sandbank.domain.template_reference import parse_template_reference
from tests.contracts.test_template_build_repo import CLAIM, REQUEST, STRANGERS, TEAM, start


@dataclass
class World:
    """All repos over one database."""

    database: Database
    builds: TemplateBuildRepo
    directory: TemplateDirectoryRepo
    shelf: TemplateShelfRepo
    tags: TemplateTagRepo
    removals: TemplateRemovalRepo
    templates: TemplateRepo

    async def ready(self, *tags: str, team: Team = TEAM, alias: str = "mine") -> RequestedBuild:
        made = await self.builds.register(team, replace(REQUEST, alias=alias, tags=tags or ("default",)))
        await start(self.builds, made)
        assert await self.builds.finish(made.build_id, BuildResult(2048, "0.6.13"))
        return made


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    async with database.sessions.begin() as session:
        session.add(TeamRow(id=uuid.UUID(STRANGERS.team_id), name="strangers", slug="strangers", email="t@x", tier="base_v1"))
    tasks = TaskGroup("test", lambda name, error: None)
    templates = TemplateRepo(database.sessions, tasks, is_shared=True)
    sessions, forget = database.sessions, templates.forget
    yield World(
        database,
        TemplateBuildRepo(sessions),
        TemplateDirectoryRepo(sessions, forget),
        TemplateShelfRepo(sessions),
        TemplateTagRepo(sessions),
        TemplateRemovalRepo(sessions, forget),
        templates,
    )
    await tasks.close()


async def test_names_lead_to_templates_in_order(world: World) -> None:
    """§0.2: the team's own, a promoted one, never an ID; of a namespace that alone."""
    ours, theirs = await world.ready(), await world.ready(team=STRANGERS)
    assert await world.directory.promote(theirs.template_id, STRANGERS.slug) is None
    assert await world.directory.promote(ours.template_id, TEAM.slug) == "mine"
    for slug, text, expected in (
        (TEAM.slug, "mine", ours.template_id),
        (STRANGERS.slug, "mine", theirs.template_id),
        ("others", "mine", theirs.template_id),
        ("others", "local-dev-team/mine", ours.template_id),
        ("others", "others/mine", None),
        (TEAM.slug, ours.template_id, None),
    ):
        found = await world.directory.find_named(slug, parse_template_reference(text))
        assert (None if found is None else found.template_id) == expected, text
    await world.directory.set_public(ours.template_id, True)
    entry = await world.directory.find(ours.template_id)
    assert entry is not None
    assert (entry.public, entry.team_id, entry.source) == (True, TEAM.team_id, "template")
    assert await world.directory.names(theirs.template_id) in (["mine", "strangers/mine"], ["strangers/mine", "mine"])


async def test_lists_and_pages(world: World) -> None:
    """rest-api §14.8, §14.9."""
    first, second = await world.ready(alias="one"), await world.builds.register(TEAM, replace(REQUEST, alias="two", tags=["v1"]))
    await world.ready("v2", alias="one")
    found = await world.shelf.list_team(TEAM.team_id, 10)
    assert [(one.template_id, one.build_id, one.build_state) for one in found] == [
        (first.template_id, first.build_id, BuildState.READY),
        (second.template_id, str(uuid.UUID(int=0)), BuildState.WAITING),
    ]
    assert (found[0].vcpu, found[0].disk_mb, found[0].build_count, found[0].names) == (2, 2048, 2, ["local-dev-team/one"])
    (newest,) = await world.shelf.list_team(TEAM.team_id, 1, newest_first=True)
    after = Cursor(newest.created_at, newest.template_id)
    rest = await world.shelf.list_team(TEAM.team_id, 10, newest_first=True, after=after)
    assert [one.template_id for one in (newest, *rest)] == [second.template_id, first.template_id]
    builds = await world.shelf.list_builds(first.template_id, 10, None)
    assert [one.build_id for one in builds][1:] == [first.build_id]
    (last,) = await world.shelf.list_builds(first.template_id, 10, Cursor(builds[0].created_at, builds[0].build_id))
    assert last.build_id == first.build_id


async def test_the_newest_ready_assignment_of_a_tag_counts(world: World) -> None:
    """§12.3.10: not the newest build; and one that is being built changes nothing."""
    old, new = await world.ready("a", "default"), await world.ready()
    await world.tags.assign(old.template_id, old.build_id, ["default", "b"])
    pending = await world.builds.register(TEAM, REQUEST)
    template = await world.templates.get(TEAM, parse_template_reference("mine"))
    assert (template.build_id, template.origin_node_id, template.snapshot_node_id) == (old.build_id, "n1", None)
    assert [(one.tag, one.build_id) for one in await world.tags.latest(old.template_id)] == [
        ("a", old.build_id),
        ("b", old.build_id),
        ("default", pending.build_id),
    ]
    assert await world.tags.count(old.template_id) == 3
    found = await world.tags.assignments(old.template_id, "default", 2, None)
    assert [one.build_id for one in found] == [old.build_id, new.build_id]
    (rest,) = await world.tags.assignments(old.template_id, "default", 2, TagCursor(found[1].assigned_at, found[1].assignment_id))
    assert rest.build_id == old.build_id
    for order, expected in ((TagOrder.LATEST_DESC, {"default", "b"}), (TagOrder.NAME_DESC, {"default"}), (TagOrder.NAME_ASC, {"a"})):
        groups = await world.tags.groups(old.template_id, TagQuery(1, 1, order))
        assert len(groups) == 2
        assert groups[0].tag in expected
        assert (groups[0].has_more, len(groups[0].assignments)) == (groups[0].tag == "default", 1)
        after = TagCursor(groups[0].latest_at, groups[0].tag)
        assert (await world.tags.groups(old.template_id, TagQuery(1, 1, order, after=after)))[0].tag == groups[1].tag
    assert [one.tag for one in await world.tags.groups(old.template_id, TagQuery(5, 1, search="_"))] == []
    await world.tags.remove(old.template_id, ["a", "b", "never"])
    assert await world.tags.count(old.template_id) == 1


async def test_a_deleted_template_is_gone_with_its_names_and_builds(world: World) -> None:
    """§1.11, §3.6: nobody tags it afterwards; its ID is never anybody's name."""
    ready, running = await world.ready(), await world.builds.register(TEAM, replace(REQUEST, tags=["b"]))
    assert await world.builds.claim(running.build_id, CLAIM) == []
    outcomes = await asyncio.gather(
        world.removals.delete(ready.template_id),
        world.tags.assign(ready.template_id, ready.build_id, ["late"]),
        return_exceptions=True,
    )
    assert sorted(outcomes[0]) == sorted([("n1", ready.build_id), ("n1", running.build_id)])  # type: ignore[arg-type]
    assert outcomes[1] is None or isinstance(outcomes[1], NotFoundError)
    with pytest.raises(NotFoundError):
        await world.tags.assign(ready.template_id, ready.build_id, ["later"])
    assert await world.directory.find(ready.template_id) is None
    assert await world.directory.find_named(TEAM.slug, parse_template_reference("mine")) is None
    assert await world.builds.list_unfinished() == []
    failed = await world.builds.find(running.build_id)
    assert failed is not None
    assert (failed.state, failed.reason and failed.reason.message) == (BuildState.ERROR, "build was cancelled")
    assert not await world.builds.accept(running.build_id)
    assert await world.shelf.list_team(TEAM.team_id, 10) == []
    assert not await world.removals.is_paused(ready.template_id)


async def test_a_template_that_is_deleted_while_a_build_is_asked_for_leaves_its_name_free(world: World) -> None:
    """§3.6: in whichever order."""
    for number in range(5):
        made = await world.ready(alias=f"t{number}")
        await asyncio.gather(
            world.removals.delete(made.template_id),
            world.builds.register(TEAM, replace(REQUEST, alias=f"t{number}", tags=["other"])),
            return_exceptions=True,
        )
        async with world.database.sessions() as session:
            left = (await session.scalars(select(EnvAlias.env_id).where(EnvAlias.alias == f"t{number}"))).all()
        assert made.template_id not in left
        await world.builds.register(TEAM, replace(REQUEST, alias=f"t{number}", tags=["other"]))
        for build in await world.builds.list_unfinished():
            await world.builds.fail(build.build_id, SUPERSEDED)


async def test_default_templates_are_the_installations(world: World) -> None:
    """§1.15: whoever has let everybody say the name before, or whatever was built without a recipe."""
    sessions = world.database.sessions
    theirs = await world.ready(team=STRANGERS, alias="code-interpreter-v1")
    assert await world.directory.promote(theirs.template_id, STRANGERS.slug) is None
    made = {await ensure_default_template(sessions, "code-interpreter-v1", text) for text in ("About it", None)}
    assert len(made) == 1
    assert made != {theirs.template_id}
    await register_base_template(sessions, str(uuid.uuid4()), 2, 1024, 10240, "0.6.13")
    async with sessions() as session:
        promoted = {row.alias: row.env_id for row in await session.scalars(select(EnvAlias).where(EnvAlias.namespace.is_(None)))}
        assert {row.env_id: row.description for row in await session.scalars(select(EnvDefault))}[next(iter(made))] == "About it"
    assert promoted["code-interpreter-v1"] in made
    listed = await world.shelf.list_defaults()
    assert sorted(one.template_id for one in listed) == sorted(promoted.values())
    assert all(one.public and one.is_default and one.team_id == TEAM.team_id for one in listed)
    repo = DefaultTemplateRepo(sessions)
    assert await repo.ensure("base", "Again") == (promoted["base"], TEAM.team_id)
    newest = await repo.newest(promoted["base"])
    assert newest is not None
    assert (newest[0].state, newest[1]) == (BuildState.READY, None)
    assert await repo.newest(promoted["code-interpreter-v1"]) is None
    request = replace(REQUEST, alias=None, template_id=promoted["code-interpreter-v1"])
    await start(world.builds, await world.builds.register(TEAM, request))
    newest = await repo.newest(promoted["code-interpreter-v1"])
    assert newest is not None
    assert (newest[0].state, newest[1], newest[0].start_cmd) == (BuildState.BUILDING, {"steps": []}, "run")
