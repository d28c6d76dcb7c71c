"""Keys that `GET /teams` makes, on both databases (rest-api contract §16.1): new ones each time, and yet not ever more."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.account_repo import AccountRepo
from sandbank.api.core.login import TeamLister
from sandbank.db import models_accounts as models
from sandbank.db.base import utc_now
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.db.seed import api_key_row, seed_local_development
from sandbank.domain import development
from sandbank.domain.credentials import API_KEY_PREFIX, hash_credential, new_api_key

MINTED = "CLI login/configure"
TEAM, USER = uuid.UUID(development.TEAM_ID), uuid.UUID(development.USER_ID)


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[AccountRepo]:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    group = TaskGroup("test", lambda name, error: None)
    yield AccountRepo(database.sessions, group, lambda key: None)
    await group.close()


def digest(key: str) -> str:
    return hash_credential(key, API_KEY_PREFIX) or ""


async def hashes(database: Database, name: str = MINTED) -> set[str]:
    async with database.sessions() as session:
        return set(await session.scalars(select(models.TeamApiKey.api_key_hash).where(models.TeamApiKey.name == name)))


async def use(database: Database, key: str, days_ago: int) -> None:
    at = utc_now() - timedelta(days=days_ago)
    async with database.sessions.begin() as session:
        await session.execute(update(models.TeamApiKey).where(models.TeamApiKey.api_key_hash == digest(key)).values(last_used=at))


async def mint(accounts: AccountRepo) -> str:
    (team,) = await TeamLister(accounts).list(development.USER_ID)
    return team.api_key


async def test_asking_again_and_again_does_not_fill_the_table(accounts: AccountRepo, database: Database) -> None:
    minted = [await mint(accounts) for _ in range(45)]
    left = await hashes(database)
    assert 10 <= len(left) <= 20
    newest = minted[-10:]
    assert {digest(key) for key in newest} <= left
    assert await accounts.find_team_by_key(digest(newest[0])) is not None


async def test_keys_in_use_are_not_pushed_out_by_new_ones(accounts: AccountRepo, database: Database) -> None:
    laptop = await mint(accounts)
    await use(database, laptop, days_ago=300)
    for _ in range(45):
        await mint(accounts)
    assert digest(laptop) in await hashes(database)


async def test_of_very_many_used_ones_those_go_that_were_not_used_for_longest(accounts: AccountRepo, database: Database) -> None:
    keys = [new_api_key() for _ in range(101)]
    async with database.sessions.begin() as session:
        session.add_all(api_key_row(key, TEAM, MINTED, USER) for key in keys)
    for days_ago, key in enumerate(keys):
        await use(database, key, days_ago)
    await accounts.find_team_by_key(digest(keys[-1]))
    newest = await mint(accounts)
    assert await hashes(database) == {digest(key) for key in [newest, *keys[:50]]}
    assert await accounts.find_team_by_key(digest(keys[-1])) is None, "it was remembered"


async def test_other_names_users_and_teams_are_left_alone(accounts: AccountRepo, database: Database) -> None:
    other = uuid.uuid4()
    async with database.sessions.begin() as session:
        session.add(models.Team(id=other, name="Them", slug="them", email="t@x", tier="base_v1"))
        await session.flush()
        session.add_all(api_key_row(new_api_key(), TEAM, "mine", USER) for _ in range(30))
        session.add_all(api_key_row(new_api_key(), TEAM, MINTED, None) for _ in range(30))
        session.add_all(api_key_row(new_api_key(), other, MINTED, USER) for _ in range(30))
    for _ in range(25):
        await mint(accounts)
    assert len(await hashes(database, "mine")) == 30
    assert 70 <= len(await hashes(database)) <= 80
