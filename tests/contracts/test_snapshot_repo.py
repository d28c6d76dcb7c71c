"""Paused sandboxes on both databases (contract templates-and-data §2.4)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from sandbank.api.adapters.snapshot_repo import SnapshotRepo
from sandbank.api.core.pagination import Cursor
from sandbank.api.core.ports import PausedQuery
from sandbank.db.database import Database
from sandbank.db.models_templates import Env, EnvBuild, EnvBuildAssignment, Snapshot
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_local_development
from sandbank.domain import development
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.errors import ConflictError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from tests.unit.api.made import NOON, sandbox

TOKENS = SandboxTokens("seed")
BASE_BUILD = str(uuid.uuid4())


@pytest.fixture
async def base(database: Database) -> str:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    await register_base_template(database.sessions, BASE_BUILD, 2, 1024, 10240, "0.6.13")
    async with database.sessions.begin() as session:
        (build,) = (await session.scalars(select(EnvBuild))).all()
        build.cpu_model, build.cpu_flags = "85", ["avx2"]
        return str(await session.scalar(select(Env.id)))


@pytest.fixture
def repo(database: Database) -> SnapshotRepo:
    return SnapshotRepo(database.sessions, TOKENS)


def ours(base: str, sandbox_id: str = "i1", **changes: object) -> Sandbox:
    return replace(sandbox(sandbox_id), team_id=development.TEAM_ID, template_id=base, build_id=BASE_BUILD, **changes)  # type: ignore[arg-type]


async def begun(repo: SnapshotRepo, one: Sandbox) -> str:
    build_id = str(uuid.uuid4())
    await repo.begin(one, build_id)
    return build_id


async def paused(repo: SnapshotRepo, one: Sandbox) -> str:
    build_id = await begun(repo, one)
    await repo.finish(build_id, is_ready=True)
    return build_id


async def test_all_of_a_sandbox_comes_back(repo: SnapshotRepo, base: str) -> None:
    whole = ours(
        base,
        alias="base",
        metadata={"who": "me"},
        envd_access_token=TOKENS.envd("i1"),
        traffic_access_token=TOKENS.traffic("i1"),
        allow_internet_access=False,
        network={"allowPublicTraffic": False, "allowOut": ["1.1.1.1"], "egressProxy": {"address": "p.example:1080", "username": "u"}},
        volume_mounts=(("data", "/mnt/data"),),
        iam_tokens={"cloud": "aud"},
        auto_pause=True,
        auto_resume=True,
        requested_timeout_seconds=420,
        egress_proxy_password="secret",
        egress_proxy_ca_cert="PEM",
    )
    build_id = await paused(repo, whole)
    found = await repo.find("i1")
    assert found is not None
    assert (found.build_id, found.is_ready) == (build_id, True)
    assert found.sandbox == replace(whole, state=SandboxState.PAUSED, end_at=found.sandbox.end_at)
    (listed,) = await repo.list_team(development.TEAM_ID, PausedQuery())
    assert listed == found.sandbox


async def test_rows_are_those_that_tools_of_e2b_expect(repo: SnapshotRepo, base: str, database: Database) -> None:
    """§2.4: a hidden template for each sandbox, and a build with the processor of the one that it was made of."""
    await paused(repo, ours(base))
    newest = await paused(repo, ours(base, started_at=NOON + timedelta(hours=1)))
    async with database.sessions() as session:
        (row,) = (await session.scalars(select(Snapshot))).all()
        env = await session.get(Env, row.env_id)
        builds = (await session.scalars(select(EnvBuildAssignment).where(EnvBuildAssignment.env_id == row.env_id))).all()
        build = await session.get(EnvBuild, uuid.UUID(newest))
    assert env is not None
    assert build is not None
    assert (env.source, env.build_count, len(builds), {one.tag for one in builds}) == ("snapshot", 2, 1, {"default"})
    assert (row.base_env_id, row.origin_node_id, row.sandbox_started_at) == (base, "n1", NOON + timedelta(hours=1))
    assert (build.status_group, build.cpu_model, build.cpu_flags) == ("ready", "85", ["avx2"])
    assert row.config is not None
    assert row.config["version"] == "v1"
    assert row.config["autoResume"] == {"policy": "off", "timeout": 300}
    found = await repo.find("i1")
    assert found is not None
    assert found.build_id == newest


async def test_what_was_saved_long_ago_is_found_by_its_newest_save(repo: SnapshotRepo, base: str, database: Database) -> None:
    for sandbox_id in ("i1", "i2", "i3", "i4", "i5"):
        build_id = await paused(repo, ours(base, sandbox_id))
        async with database.sessions.begin() as session:
            build = await session.get(EnvBuild, uuid.UUID(build_id))
            assert build is not None
            build.created_at = NOON
    await paused(repo, ours(base, "i2"))  # since
    await begun(repo, ours(base, "i3"))  # being saved
    await repo.delete("i4")
    moment = NOON + timedelta(seconds=1)
    assert await repo.list_saved_before(moment, "", 10) == ["i1", "i5"]
    assert await repo.list_saved_before(moment, "", 1) == ["i1"]
    assert await repo.list_saved_before(moment, "i1", 10) == ["i5"]
    assert await repo.list_saved_before(NOON, "", 10) == []


async def test_a_save_counts_once_it_is_ready_and_a_failed_one_never(repo: SnapshotRepo, base: str) -> None:
    unfinished = await begun(repo, ours(base))
    found = await repo.find("i1")
    assert found is not None
    assert not found.is_ready
    assert await repo.list_team(development.TEAM_ID, PausedQuery()) == []
    assert await repo.list_unfinished() == ["i1"]
    await repo.finish(unfinished, is_ready=False)
    assert await repo.find("i1") is None
    before = await paused(repo, ours(base))
    await repo.finish(await begun(repo, ours(base, node_id="n2")), is_ready=False)
    found = await repo.find("i1")
    assert found is not None
    assert (found.build_id, found.sandbox.node_id) == (before, "n1")
    assert await repo.list_unfinished() == []


async def test_a_ready_save_replaces_those_before_it_and_none_after(repo: SnapshotRepo, base: str) -> None:
    first, other = await paused(repo, ours(base, node_id="n0")), await paused(repo, ours(base, "i2"))
    second, third = await begun(repo, ours(base)), await begun(repo, ours(base))
    assert await repo.finish(second, is_ready=True) == [("n0", first)]
    found = await repo.find("i1")
    assert found is not None
    assert (found.build_id, found.is_ready) == (third, False)
    assert await repo.finish(third, is_ready=True) == [("n1", second)]
    assert await repo.delete("i1") == [("n1", third)]
    assert await repo.delete("i2") == [("n1", other)]


async def test_deleting_names_all_that_nodes_may_have(repo: SnapshotRepo, base: str, database: Database) -> None:
    builds = {await paused(repo, ours(base)), await begun(repo, ours(base))}
    assert set(await repo.delete("i1")) == {("n1", build_id) for build_id in builds}
    assert await repo.find("i1") is None
    assert await repo.list_team(development.TEAM_ID, PausedQuery()) == []
    assert await repo.delete("i1") == []
    async with database.sessions() as session:
        assert (await session.scalars(select(Env.deleted_at).where(Env.source == "snapshot"))).one() is not None
    again = await paused(repo, ours(base))
    found = await repo.find("i1")
    assert found is not None
    assert found.build_id == again


async def test_builds_are_known_until_their_sandbox_is_forgotten(repo: SnapshotRepo, base: str) -> None:
    ready, unfinished, stranger = await paused(repo, ours(base)), await begun(repo, ours(base, "i2")), str(uuid.uuid4())
    many = {str(uuid.uuid4()) for _ in range(1200)}
    assert await repo.known({ready, unfinished, stranger, *many}) == {ready, unfinished}
    await repo.delete("i1")
    await repo.finish(unfinished, is_ready=False)
    assert await repo.known({ready, unfinished}) == set()


async def test_a_template_that_is_not_there_is_refused(repo: SnapshotRepo, base: str) -> None:
    with pytest.raises(ConflictError):
        await repo.begin(ours("nosuchtemplate"), str(uuid.uuid4()))


async def test_lists_in_pages_and_by_what_is_asked_for(repo: SnapshotRepo, base: str) -> None:
    """rest-api contract §8.5: newest first, by ID within an instant; ascending turns both round."""
    odd = 'a"b$.c'
    for sandbox_id, minutes, metadata in (("ib", 0, {"k": "v", odd: "x"}), ("ia", 0, {"k": "v"}), ("ic", 5, {"k": "other"})):
        await paused(repo, ours(base, sandbox_id, started_at=NOON + timedelta(minutes=minutes), metadata=metadata))

    async def listed(**query: object) -> str:
        found = await repo.list_team(development.TEAM_ID, PausedQuery(**query))  # type: ignore[arg-type]
        return "".join(one.sandbox_id[1:] for one in found)

    assert await listed() == "cab"
    assert await listed(ascending=True) == "bac"
    assert await listed(limit=2) == "ca"
    assert await listed(after=Cursor(NOON, "ia")) == "b"
    assert await listed(after=Cursor(NOON, "ib"), ascending=True) == "ac"
    assert await listed(metadata={"k": "v"}) == "ab"
    assert await listed(metadata={"k": "v", odd: "x"}) == "b"
    assert await listed(metadata={"k": "' OR 1=1"}) == ""
    assert await listed(started_after=NOON + timedelta(minutes=5)) == "c"
    assert await listed(template_id=base) == "cab"
    assert await listed(template_id="another") == ""
    assert await repo.list_team(str(uuid.uuid4()), PausedQuery()) == []
