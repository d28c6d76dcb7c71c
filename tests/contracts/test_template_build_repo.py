"""Builds of templates on both databases (contract templates-and-data §1.3–§1.5)."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from sandbank.api.adapters.template_build_repo import TemplateBuildRepo
from sandbank.api.adapters.template_build_rows import SUPERSEDED
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import (
    Build,
    BuildClaim,
    BuilderMachine,
    BuildReason,
    BuildRequest,
    BuildResult,
    BuildState,
    RequestedBuild,
)
from sandbank.db.base import utc_now
from sandbank.db.database import Database
from sandbank.db.models_accounts import Team as TeamRow
from sandbank.db.models_templates import ActiveTemplateBuild, Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_local_development
from sandbank.domain import development
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, InvalidError, NotFoundError

TEAM = Team(development.TEAM_ID, development.TEAM_SLUG, "Ours", 10, 1, concurrent_builds=3)
STRANGERS = Team(str(uuid.uuid4()), "strangers", "Strangers", 10, 1)
REQUEST = BuildRequest(tags=["default"], vcpu=2, ram_mb=1024, free_disk_mb=512, version="v2.1.0", alias="mine")
CLAIM = BuildClaim(BuilderMachine("n1", "x86_64", "6", "85", "Some CPU", ("avx", "sse")), "v2.0.0", "run", "ready", {"steps": []})


@pytest.fixture
async def repo(database: Database) -> TemplateBuildRepo:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    async with database.sessions.begin() as session:
        session.add(TeamRow(id=uuid.UUID(STRANGERS.team_id), name="strangers", slug="strangers", email="t@x", tier="base_v1"))
    return TemplateBuildRepo(database.sessions)


async def find(repo: TemplateBuildRepo, made: RequestedBuild) -> Build:
    found = await repo.find(made.build_id)
    assert found is not None
    return found


async def start(repo: TemplateBuildRepo, made: RequestedBuild) -> None:
    assert await repo.claim(made.build_id, CLAIM) is not None
    assert await repo.accept(made.build_id)


async def test_what_a_new_build_is_in_rows(repo: TemplateBuildRepo, database: Database) -> None:
    """§1.3: one assignment for each tag, and a place among the active ones."""
    made = await repo.register(TEAM, replace(REQUEST, tags=["v1", "stable"]))
    assert (made.aliases, made.names, made.tags, made.public) == (["mine"], ["local-dev-team/mine"], ["v1", "stable"], False)
    async with database.sessions() as session:
        env = await session.get(Env, made.template_id)
        build = await session.get(EnvBuild, uuid.UUID(made.build_id))
        active = await session.get(ActiveTemplateBuild, uuid.UUID(made.build_id))
        tags = set(await session.scalars(select(EnvBuildAssignment.tag).where(EnvBuildAssignment.env_id == made.template_id)))
    assert env is not None
    assert (str(env.team_id), env.source, env.build_count, len(env.id)) == (TEAM.team_id, "template", 1, 20)
    assert build is not None
    assert (build.status, build.status_group, build.vcpu, build.ram_mb, build.free_disk_size_mb) == ("waiting", "pending", 2, 1024, 512)
    assert (build.kernel_version, build.version, build.env_id, build.reason) == ("vmlinux-6.1.158", "v2.1.0", made.template_id, {})
    assert active is not None
    assert (active.tags, active.template_id) == (["v1", "stable"], made.template_id)
    assert tags == {"v1", "stable"}
    found = await find(repo, made)
    assert (found.state, found.is_startable, found.team_id, found.node_id, found.reason) == (
        BuildState.WAITING,
        True,
        TEAM.team_id,
        None,
        None,
    )


async def test_a_name_of_the_teams_own_is_the_same_template_again(repo: TemplateBuildRepo, database: Database) -> None:
    first = await repo.register(TEAM, REQUEST)
    again = await repo.register(TEAM, REQUEST)
    assert (again.template_id, again.names) == (first.template_id, first.names)
    assert again.build_id != first.build_id
    other = await repo.register(STRANGERS, REQUEST)
    assert (other.template_id != first.template_id, other.names) == (True, ["strangers/mine"])
    async with database.sessions() as session:
        env = await session.get(Env, first.template_id)
    assert env is not None
    assert env.build_count == 2


async def test_the_promoted_name_is_rebuilt_by_its_owner_and_shadowed_by_others(repo: TemplateBuildRepo, database: Database) -> None:
    """§0.2, §1.3: `base` is the seed team's."""
    await register_base_template(database.sessions, str(uuid.uuid4()), 2, 1024, 10240, "0.6.13")
    ours, theirs = [await repo.register(team, replace(REQUEST, alias="base")) for team in (TEAM, STRANGERS)]
    assert (ours.public, sorted(ours.names)) == (True, ["base", "local-dev-team/base"])
    assert (theirs.public, theirs.names) == (False, ["strangers/base"])


async def test_a_name_may_not_be_an_id_or_anothers(repo: TemplateBuildRepo, database: Database) -> None:
    """§1.3.7: the ID of a deleted template, too."""
    made = await repo.register(TEAM, REQUEST)
    async with database.sessions.begin() as session:
        await session.execute(update(Env).values(deleted_at=utc_now()))
    with pytest.raises(ConflictError, match=f"^Alias '{made.template_id}' is already used$"):
        await repo.register(TEAM, replace(REQUEST, alias=made.template_id))
    with pytest.raises(NotFoundError, match=r"^Template 'mine' has been deleted and cannot be rebuilt$"):
        await repo.register(TEAM, REQUEST)
    with pytest.raises(DeniedError, match=r"^Alias 'mine' already used$"):
        await repo.register(TEAM, replace(REQUEST, rebuilds=False))
    async with database.sessions.begin() as session:
        await session.execute(update(Env).values(deleted_at=None, source="snapshot_template"))
    with pytest.raises(InvalidError, match="is a snapshot"):
        await repo.register(TEAM, REQUEST)


async def test_a_rebuild_under_a_new_name_renames(repo: TemplateBuildRepo, database: Database) -> None:
    """§12.3.7; refused where the template is none of the team's (§1.1.3)."""
    made = await repo.register(TEAM, REQUEST)
    async with database.sessions.begin() as session:
        session.add(EnvAlias(alias="fixed", namespace=None, env_id=made.template_id, is_renamable=False))
    again = await repo.register(TEAM, replace(REQUEST, template_id=made.template_id, alias="other"))
    assert (again.template_id, sorted(again.names)) == (made.template_id, ["fixed", "local-dev-team/other"])
    with pytest.raises(NotFoundError, match=r"^Template 'nothing' not found$"):
        await repo.register(TEAM, replace(REQUEST, template_id="nothing"))
    with pytest.raises(DeniedError, match=f"^You do not have access to the template '{made.template_id}'$"):
        await repo.register(STRANGERS, replace(REQUEST, template_id=made.template_id))


async def test_a_new_build_supersedes_those_that_wait_under_one_of_its_tags(repo: TemplateBuildRepo) -> None:
    """§1.3.5; one in progress goes on until the new one starts (§1.4)."""
    of_both, of_one, running = [await repo.register(TEAM, replace(REQUEST, tags=tags)) for tags in (["a", "b"], ["b"], ["c"])]
    assert (await find(repo, of_both)).reason == SUPERSEDED
    await start(repo, running)
    last = await repo.register(TEAM, replace(REQUEST, tags=["c", "d"]))
    states = [(await find(repo, one)).state for one in (of_both, of_one, running, last)]
    assert states == [BuildState.ERROR, BuildState.WAITING, BuildState.BUILDING, BuildState.WAITING]
    superseded = await repo.claim(last.build_id, CLAIM)
    assert superseded is not None
    assert [(one.build_id, one.node_id) for one in superseded] == [(running.build_id, "n1")]
    assert (await find(repo, running)).reason == SUPERSEDED
    assert [one.build_id for one in await repo.list_unfinished()] == [of_one.build_id, last.build_id]


async def test_a_team_has_so_many_builds_at_once_and_replaces_its_own(repo: TemplateBuildRepo, database: Database) -> None:
    """§1.3.2, §12.3.9: however many are asked for at the same time; builds older than a day do not count."""
    outcomes = await asyncio.gather(
        *(repo.register(TEAM, replace(REQUEST, alias=f"t{number}")) for number in range(5)), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert len(refused) == 2
    for one in refused:
        assert isinstance(one, ExhaustedError)
        assert one.message == (
            "you have reached the maximum number of concurrent template builds (3). Please wait for existing builds to complete"
            " or contact support if you need more concurrent builds."
        )
    accepted = next(one for one in outcomes if isinstance(one, RequestedBuild))
    await repo.register(TEAM, replace(REQUEST, alias=accepted.aliases[0]))
    async with database.sessions.begin() as session:
        await session.execute(update(ActiveTemplateBuild).values(created_at=utc_now() - timedelta(days=1, minutes=1)))
    await repo.register(TEAM, replace(REQUEST, alias="more"))


async def test_only_one_starts_a_build(repo: TemplateBuildRepo, database: Database) -> None:
    """§1.4, however many try; what is told at the start is kept."""
    made = await repo.register(TEAM, replace(REQUEST, dockerfile="FROM x"))
    claims = await asyncio.gather(*(repo.claim(made.build_id, CLAIM) for _ in range(4)))
    assert sorted(claims, key=str) == [None, None, None, []]
    assert (await find(repo, made)).state is BuildState.WAITING
    assert not await repo.finish(made.build_id, BuildResult(1, "1"))
    assert [await repo.accept(made.build_id) for _ in range(2)] == [True, False]
    async with database.sessions() as session:
        row = await session.get(EnvBuild, uuid.UUID(made.build_id))
    assert row is not None
    assert (row.status, row.status_group, row.start_cmd, row.ready_cmd, row.version) == (
        "building",
        "in_progress",
        "run",
        "ready",
        "v2.0.0",
    )
    assert (row.cluster_node_id, row.cpu_model_name, row.cpu_flags, row.dockerfile) == ("n1", "Some CPU", ["avx", "sse"], '{"steps":[]}')


async def test_how_a_build_ends(repo: TemplateBuildRepo, database: Database) -> None:
    """§1.5: once, and its place is free."""
    good, bad = [await repo.register(TEAM, replace(REQUEST, alias=alias)) for alias in ("good", "bad")]
    for one in (good, bad):
        await start(repo, one)
    assert [await repo.finish(good.build_id, BuildResult(2048, "0.6.13", "vmlinux-x")) for _ in range(2)] == [True, False]
    reason = BuildReason("exit status 1: \0" + "x" * 100_000, "2")
    assert [await repo.fail(bad.build_id, reason) for _ in range(2)] == [True, False]
    assert not await repo.fail(good.build_id, reason)
    assert await repo.list_unfinished() == []
    async with database.sessions() as session:
        row = await session.get(EnvBuild, uuid.UUID(good.build_id))
    assert row is not None
    assert (row.status, row.total_disk_size_mb, row.envd_version, row.kernel_version) == ("uploaded", 2048, "0.6.13", "vmlinux-x")
    assert row.finished_at is not None
    assert row.firecracker_version
    failed = await find(repo, bad)
    assert failed.reason is not None
    assert (failed.state, failed.reason.step, failed.reason.message[:15]) == (BuildState.ERROR, "2", "exit status 1: ")
    assert len(failed.reason.message) < 20_000


async def test_what_waits_or_runs_is_listed_by_team(repo: TemplateBuildRepo) -> None:
    ours, theirs = [await repo.register(team, REQUEST) for team in (TEAM, STRANGERS)]
    await start(repo, theirs)
    assert [(one.build_id, one.node_id) for one in await repo.list_unfinished()] == [(ours.build_id, None), (theirs.build_id, "n1")]
    assert [one.build_id for one in await repo.list_unfinished(STRANGERS.team_id)] == [theirs.build_id]
