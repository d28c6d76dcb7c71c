"""What an installation starts with, on both databases."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from sandbank.db.database import Database
from sandbank.db.models_accounts import AccessToken, Addon, ProjectLimits, Team, TeamApiKey, User, UserTeam
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.db.schema import upgrade
from sandbank.db.seed import register_base_template, seed_generated, seed_local_development
from sandbank.db.views import team_limits
from sandbank.domain import development
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential
from sandbank.domain.errors import NotFoundError


@pytest.fixture
async def empty(database: Database) -> Database:
    await upgrade(database.engine)
    return database


async def _key_hashes(database: Database) -> set[str]:
    async with database.sessions() as session:
        return set((await session.scalars(select(TeamApiKey.api_key_hash))).all())


async def _token_hashes(database: Database) -> set[str]:
    async with database.sessions() as session:
        return set((await session.scalars(select(AccessToken.access_token_hash))).all())


async def test_local_development_is_as_published_and_idempotent(empty: Database) -> None:
    await seed_local_development(empty.sessions)
    await seed_local_development(empty.sessions)
    async with empty.sessions() as session:
        team = await session.get_one(Team, uuid.UUID(development.TEAM_ID))
        assert (team.name, team.slug, team.email) == ("local-dev team", "local-dev-team", "team@e2b-dev.local")
        member = (await session.scalars(select(UserTeam))).one()
        assert (str(member.user_id), member.is_default) == (development.USER_ID, True)
        key = (await session.scalars(select(TeamApiKey))).one()
        assert (key.name, key.api_key_mask_prefix, key.api_key_mask_suffix) == ("local dev seed token", "53", "dd90")
        assert await session.scalar(select(func.count()).select_from(User)) == 2
    assert await _key_hashes(empty) == {hash_credential(development.API_KEY, API_KEY_PREFIX)}
    assert await _token_hashes(empty) == {hash_credential(development.ACCESS_TOKEN, ACCESS_TOKEN_PREFIX)}


async def test_the_seeded_team_is_limited_by_the_machine(empty: Database) -> None:
    await seed_local_development(empty.sessions)
    async with empty.sessions() as session:
        limits = (await session.execute(select(team_limits))).one()
    assert (limits.concurrent_sandboxes, limits.max_length_hours) == (10_000, 24)
    assert isinstance(limits.max_ram_mb, int)


async def test_addons_add_and_own_limits_replace(empty: Database) -> None:
    await seed_local_development(empty.sessions)
    team_id = uuid.UUID(development.TEAM_ID)
    now = datetime.now(UTC)
    async with empty.sessions.begin() as session:
        team = await session.get_one(Team, team_id)
        team.tier = "base_v1"
        session.add(Addon(team_id=team_id, name="more", extra_concurrent_sandboxes=200, valid_from=now - timedelta(days=1)))
        session.add(
            Addon(
                team_id=team_id,
                name="over",
                extra_concurrent_sandboxes=1000,
                valid_from=now - timedelta(days=3),
                valid_to=now - timedelta(days=2),
            )
        )
    async with empty.sessions.begin() as session:
        limits = (await session.execute(select(team_limits))).one()
        assert (limits.concurrent_sandboxes, limits.max_length_hours) == (220, 1)
        names = [column.name for column in team_limits.columns if column.name != "id"]
        session.add(ProjectLimits(team_id=team_id, **dict.fromkeys(names, 7)))
    async with empty.sessions() as session:
        limits = (await session.execute(select(team_limits))).one()
        assert (limits.concurrent_sandboxes, limits.max_length_hours) == (7, 7)


async def test_generated_credentials_take_the_place_of_known_ones(empty: Database) -> None:
    await seed_local_development(empty.sessions)
    first = await seed_generated(empty.sessions)
    assert await _key_hashes(empty) == {hash_credential(first.api_key, API_KEY_PREFIX)}
    assert await _token_hashes(empty) == {hash_credential(first.access_token, ACCESS_TOKEN_PREFIX)}
    second = await seed_generated(empty.sessions)
    assert second.api_key != first.api_key
    assert await _key_hashes(empty) == {hash_credential(second.api_key, API_KEY_PREFIX)}


async def test_generated_credentials_leave_other_keys_alone(empty: Database) -> None:
    await seed_generated(empty.sessions)
    async with empty.sessions.begin() as session:
        row = (await session.scalars(select(TeamApiKey))).one()
        row.name = "renamed by its owner"
    await seed_generated(empty.sessions)
    assert len(await _key_hashes(empty)) == 2


async def test_the_base_template_follows_its_newest_build(empty: Database) -> None:
    await seed_local_development(empty.sessions)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    for build_id in (first, first, second, second):
        await register_base_template(empty.sessions, build_id, 2, 1024, 10240, "0.6.13")
    async with empty.sessions() as session:
        env = (await session.scalars(select(Env))).one()
        assert env.public
        alias = (await session.scalars(select(EnvAlias))).one()
        assert (alias.alias, alias.namespace, alias.env_id) == ("base", None, env.id)
        newest_first = select(EnvBuildAssignment.build_id).order_by(EnvBuildAssignment.created_at.desc())
        assert [str(build) for build in (await session.scalars(newest_first)).all()] == [second, first]
        builds = (await session.scalars(select(EnvBuild))).all()
        assert {build.status_group for build in builds} == {"ready"}


async def test_the_base_template_needs_an_owner(empty: Database) -> None:
    with pytest.raises(NotFoundError, match="seed"):
        await register_base_template(empty.sessions, str(uuid.uuid4()), 2, 1024, 10240, "0.6.13")
