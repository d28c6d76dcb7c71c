"""The history of the schema: up, equal to the models, down again, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text

from sandbank.db.database import Database
from sandbank.db.schema import alembic_config, downgrade, read_schema, upgrade
from sandbank.domain.errors import ConflictError, UnavailableError

TABLES = {
    "access_tokens",
    "account_version",
    "active_template_builds",
    "addons",
    "clusters",
    "env_aliases",
    "env_build_assignments",
    "env_builds",
    "env_defaults",
    "envs",
    "project_limits",
    "snapshot_templates",
    "snapshots",
    "team_api_keys",
    "teams",
    "tiers",
    "user_identities",
    "users",
    "users_teams",
    "secrets",
    "volumes",
}


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


async def test_up_check_down_up(database: Database) -> None:
    await upgrade(database.engine)
    async with database.engine.begin() as connection:
        assert await connection.run_sync(_tables) == TABLES
        # Fails if the models have moved on without a migration.
        await connection.run_sync(lambda sync: command.check(alembic_config(sync)))
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), "base"))
    async with database.engine.begin() as connection:
        assert await connection.run_sync(_tables) == set()
    await upgrade(database.engine)
    async with database.engine.begin() as connection:
        assert await connection.run_sync(_tables) == TABLES


async def test_upgrading_twice_changes_nothing(database: Database) -> None:
    await upgrade(database.engine)
    await upgrade(database.engine)


async def test_refuses_a_database_of_the_future(database: Database) -> None:
    await upgrade(database.engine)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConflictError, match=r"schema 9999.*newer"):
        await upgrade(database.engine)


async def test_replicas_may_start_at_once(postgres: Database) -> None:
    await asyncio.gather(*(upgrade(postgres.engine) for _ in range(4)))


async def test_an_absent_database_is_one_clear_error() -> None:
    database = Database("postgresql://sandbank@127.0.0.1:23099/none?sslmode=disable")
    try:
        with pytest.raises(UnavailableError, match="the database cannot be used"):
            await upgrade(database.engine)
    finally:
        await database.close()


async def test_status_group_follows_status(database: Database) -> None:
    await upgrade(database.engine)
    groups = {"waiting": "pending", "building": "in_progress", "uploaded": "ready", "cancelled": "failed"}
    async with database.engine.begin() as connection:
        for number, status in enumerate(groups):
            await connection.execute(
                text(
                    "INSERT INTO env_builds (id, status, vcpu, ram_mb, free_disk_size_mb, firecracker_version)"
                    f" VALUES ('{number:032x}', '{status}', 2, 1024, 512, '')"
                )
            )
        rows = (await connection.execute(text("SELECT status, status_group FROM env_builds"))).all()
    assert {row.status: row.status_group for row in rows} == groups


async def test_a_migration_that_fails_leaves_nothing(database: Database) -> None:
    """Also on SQLite, whose driver by itself would keep what came before the failure."""
    await upgrade(database.engine)
    await downgrade(database.engine, "0001")
    async with database.engine.begin() as connection:
        before = await connection.run_sync(_tables)
        await connection.execute(text("CREATE TABLE account_version (x int)"))
    with pytest.raises(UnavailableError, match="account_version"):
        await upgrade(database.engine)
    async with database.engine.begin() as connection:
        assert await connection.run_sync(_tables) == before | {"account_version"}
        await connection.execute(text("DROP TABLE account_version"))
    await upgrade(database.engine)


async def test_status_says_what_is_applied_and_pending(database: Database) -> None:
    empty = await read_schema(database.engine)
    assert (empty.applied, [step.revision for step in empty.pending[:2]]) == ((), ["0001", "0002"])
    await upgrade(database.engine)
    full = await read_schema(database.engine)
    assert (full.applied, full.pending, full.unknown) == (empty.pending, (), ())
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert (await read_schema(database.engine)).unknown == ("9999",)
    with pytest.raises(ConflictError, match="newer"):
        await downgrade(database.engine, "0001")
