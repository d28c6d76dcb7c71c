"""The API's queries, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.account_repo import AccountRepo
from sandbank.api.adapters.template_repo import TemplateRepo
from sandbank.api.adapters.usage_repo import UsageRepo
from sandbank.api.core.team import Team
from sandbank.db import models_accounts
from sandbank.db.base import utc_now
from sandbank.db.database import Database
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_local_development
from sandbank.domain import development
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential, new_api_key
from sandbank.domain.errors import NotFoundError
from sandbank.domain.template_reference import parse_template_reference

KEY = hash_credential(development.API_KEY, API_KEY_PREFIX) or ""
TOKEN = hash_credential(development.ACCESS_TOKEN, ACCESS_TOKEN_PREFIX) or ""
US = Team(development.TEAM_ID, development.TEAM_SLUG, development.TEAM_NAME, 10, 1)
THEM = Team(str(uuid.uuid4()), "them", "Them", 10, 1)


@pytest.fixture
async def seeded(database: Database) -> Database:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    async with database.sessions.begin() as session:
        session.add(models_accounts.Team(id=uuid.UUID(THEM.team_id), name="Them", slug="them", email="t@x", tier="base_v1"))
    return database


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    group = TaskGroup("test", lambda name, error: None)
    yield group
    await group.close()


async def _template(database: Database, template_id: str, owner: Team, *, public: bool = False, **builds: str) -> dict[str, str]:
    """A template named by its ID, with a build per tag in the given status."""
    ids = {}
    async with database.sessions.begin() as session:
        session.add(Env(id=template_id, team_id=uuid.UUID(owner.team_id), public=public))
        await session.flush()
        session.add(EnvAlias(alias=f"{template_id}-name", namespace=owner.slug, env_id=template_id))
        for age, (tag, status) in enumerate(builds.items()):
            build = EnvBuild(id=uuid.uuid4(), status=status, vcpu=1, ram_mb=512, free_disk_size_mb=100, firecracker_version="")
            session.add(build)
            await session.flush()
            at = utc_now() - timedelta(minutes=age)
            session.add(EnvBuildAssignment(env_id=template_id, build_id=build.id, tag=tag.rstrip("_"), created_at=at))
            ids[tag] = str(build.id)
    return ids


async def test_accounts(seeded: Database, tasks: TaskGroup) -> None:
    used: list[str] = []
    accounts = AccountRepo(seeded.sessions, tasks, used.append)
    team = await accounts.find_team_by_key(KEY)
    assert team is not None
    assert (team.team_id, team.slug, team.concurrent_sandboxes, team.max_length_hours) == (US.team_id, US.slug, 10_000, 24)
    assert await accounts.find_team_by_key(KEY) is team
    assert used == [KEY]
    assert await accounts.find_team_by_key("$sha256$x") is None
    assert await accounts.find_team(THEM.team_id) is not None
    assert await accounts.find_team(str(uuid.uuid4())) is None
    assert await accounts.find_user_by_token(TOKEN) == development.USER_ID
    assert await accounts.find_user_by_token("no") is None


async def test_memberships_and_new_keys(seeded: Database, tasks: TaskGroup) -> None:
    accounts = AccountRepo(seeded.sessions, tasks, lambda key: None)
    (membership,) = await accounts.list_memberships(development.USER_ID)
    assert (membership.team_id, membership.is_default) == (US.team_id, True)
    key = new_api_key()
    digest = hash_credential(key, API_KEY_PREFIX) or ""
    assert await accounts.find_team_by_key(digest) is None
    await accounts.add_api_key(US.team_id, development.USER_ID, "cli", key)
    team = await accounts.find_team_by_key(digest)
    assert team is not None
    assert team.team_id == US.team_id


async def test_base_is_everybodys(seeded: Database, tasks: TaskGroup) -> None:
    build_id = str(uuid.uuid4())
    await register_base_template(seeded.sessions, build_id, 2, 1024, 10240, "0.6.13")
    templates = TemplateRepo(seeded.sessions, tasks)
    for team in (US, THEM):
        template = await templates.get(team, parse_template_reference("base"))
        assert (template.build_id, template.alias, template.vcpu, template.disk_mb) == (build_id, "base", 2, 10240)
        assert (await templates.get(team, parse_template_reference(template.template_id))).build_id == build_id
        assert await templates.find_template_id(team, parse_template_reference("base")) == template.template_id
        assert (await templates.get(team, parse_template_reference(f"base:{build_id}"))).build_id == build_id


async def test_an_own_name_goes_before_a_promoted_one(seeded: Database, tasks: TaskGroup) -> None:
    await register_base_template(seeded.sessions, str(uuid.uuid4()), 2, 1024, 10240, "0.6.13")
    builds = await _template(seeded, "mine", US, default="ready")
    async with seeded.sessions.begin() as session:
        session.add(EnvAlias(alias="base", namespace=US.slug, env_id="mine"))
    templates = TemplateRepo(seeded.sessions, tasks)
    assert (await templates.get(US, parse_template_reference("base"))).build_id == builds["default"]
    assert (await templates.get(THEM, parse_template_reference("base"))).build_id != builds["default"]


async def test_others_private_templates_do_not_exist(seeded: Database, tasks: TaskGroup) -> None:
    await _template(seeded, "secret", THEM, default="ready")
    await _template(seeded, "shared", THEM, public=True, default="ready")
    templates = TemplateRepo(seeded.sessions, tasks)
    for text in ("secret", "them/secret-name", "secret-name", "shared-name"):
        with pytest.raises(NotFoundError, match=f"^template '{text}' not found$"):
            await templates.get(US, parse_template_reference(text))
    for text in ("shared", "them/shared-name"):
        assert (await templates.get(US, parse_template_reference(text))).template_id == "shared"


async def test_the_newest_ready_build_of_a_tag(seeded: Database, tasks: TaskGroup) -> None:
    builds = await _template(seeded, "app", US, default="building", default_="uploaded", default__="ready", v1="failed")
    templates = TemplateRepo(seeded.sessions, tasks)
    assert (await templates.get(US, parse_template_reference("app"))).build_id == builds["default_"]
    with pytest.raises(NotFoundError, match=r"^tag 'v1' does not exist for template 'app'$"):
        await templates.get(US, parse_template_reference("app:v1"))


async def test_a_deleted_template_is_gone(seeded: Database, tasks: TaskGroup) -> None:
    await _template(seeded, "app", US, default="ready")
    async with seeded.sessions.begin() as session:
        (await session.get_one(Env, "app")).deleted_at = utc_now()
    with pytest.raises(NotFoundError):
        await TemplateRepo(seeded.sessions, tasks).get(US, parse_template_reference("app"))


async def test_usage_is_written_in_one_go(seeded: Database) -> None:
    await _template(seeded, "app", US, default="ready")
    usage = UsageRepo(seeded.sessions)
    for _ in range(3):
        usage.template_spawned("app")
    usage.key_used(KEY)
    await usage.flush()
    await usage.flush()
    async with seeded.sessions() as session:
        env = await session.get_one(Env, "app")
        assert env.spawn_count == 3
        assert env.last_spawned_at is not None
        last_used = await session.scalar(select(models_accounts.TeamApiKey.last_used))
        assert last_used is not None
        assert last_used.tzinfo is not None
