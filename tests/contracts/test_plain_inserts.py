"""Tools that write E2B's schema by themselves, row by row, as E2B's own integration tests do (templates contract §3.1, REST contract §21).

On PostgreSQL a row may leave out whatever E2B's schema has a default or a trigger for. On SQLite it brings its ID and a team its slug.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.account_repo import AccountRepo
from sandbank.api.adapters.template_repo import TemplateRepo
from sandbank.api.core.team import Team
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential, new_access_token, new_api_key
from sandbank.domain.template_reference import parse_template_reference

TEAM, USER, BUILD = (str(uuid.uuid4()) for _ in range(3))


class Tool:
    """Sends SQL; on SQLite IDs are written as that half stores them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_postgres = database.url.startswith("postgresql")

    def id(self, value: str) -> str:
        return value if self.is_postgres else value.replace("-", "")

    async def insert(self, table: str, **values: Any) -> None:
        """One row; `id` is made up on SQLite where it is missing and the table wants one."""
        marks = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in values.values())
        async with self.database.engine.begin() as connection:
            await connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"))

    async def insert_new(self, table: str, key: str = "id", **values: Any) -> None:
        await self.insert(table, **({} if self.is_postgres else {key: uuid.uuid4().hex}), **values)

    async def read(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.engine.begin() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]


@pytest.fixture
async def tool(database: Database) -> Tool:
    await upgrade(database.engine)
    return Tool(database)


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    group = TaskGroup("test", lambda name, error: None)
    yield group
    await group.close()


async def _team(tool: Tool) -> None:
    slug = {} if tool.is_postgres else {"slug": "e2b-integration", "sandbox_scheduling_labels": "[]"}
    await tool.insert("teams", id=tool.id(TEAM), name="E2B Integration", tier="base_v1", email="t@example.org", **slug)


def _columns(kind: str, raw: str, prefix: str) -> dict[str, Any]:
    return {
        f"{kind}_hash": hash_credential(raw, prefix),
        f"{kind}_prefix": prefix,
        f"{kind}_length": len(raw) - len(prefix),
        f"{kind}_mask_prefix": raw[len(prefix) :][:2],
        f"{kind}_mask_suffix": raw[-4:],
    }


async def test_a_key_inserted_by_a_tool_stands_for_its_team(tool: Tool, tasks: TaskGroup) -> None:
    await _team(tool)
    key = new_api_key()
    await tool.insert_new("team_api_keys", team_id=tool.id(TEAM), **_columns("api_key", key, API_KEY_PREFIX))
    await tool.insert_new("addons", team_id=tool.id(TEAM), name="tests", extra_concurrent_sandboxes=200)
    team = await AccountRepo(tool.database.sessions, tasks, lambda _: None).find_team_by_key(hash_credential(key, API_KEY_PREFIX) or "")
    assert team is not None
    assert (team.team_id, team.slug, team.concurrent_sandboxes, team.max_length_hours) == (TEAM, "e2b-integration", 220, 1)
    assert (await tool.read("SELECT name FROM team_api_keys")) == [("Unnamed API Key",)]


async def test_a_user_with_token_and_membership_inserted_by_a_tool_has_teams(tool: Tool, tasks: TaskGroup) -> None:
    await _team(tool)
    await tool.insert("users", id=tool.id(USER))
    await tool.insert_new("users_teams", "uuid_id", user_id=tool.id(USER), team_id=tool.id(TEAM), is_default="true")
    token = new_access_token()
    await tool.insert_new("access_tokens", user_id=tool.id(USER), **_columns("access_token", token, ACCESS_TOKEN_PREFIX))
    await tool.insert("user_identities", oidc_iss="https://issuer", oidc_sub="me", user_id=tool.id(USER))
    accounts = AccountRepo(tool.database.sessions, tasks, lambda _: None)
    assert await accounts.find_user_by_token(hash_credential(token, ACCESS_TOKEN_PREFIX) or "") == USER
    (membership,) = await accounts.list_memberships(USER)
    assert (membership.team_id, membership.is_default) == (TEAM, True)


async def test_a_template_inserted_by_a_tool_resolves_to_its_build(tool: Tool, tasks: TaskGroup) -> None:
    await _team(tool)
    await tool.insert("envs", id="abcdefghij0123456789", team_id=tool.id(TEAM), public="true")
    await tool.insert_new("env_aliases", alias="tool-made", env_id="abcdefghij0123456789", namespace="e2b-integration")
    sizes = {"vcpu": 2, "ram_mb": 512, "free_disk_size_mb": 512, "total_disk_size_mb": 1024, "firecracker_version": "v1"}
    await tool.insert("env_builds", id=tool.id(BUILD), status="uploaded", envd_version="0.6.13", **sizes)
    await tool.insert_new("env_build_assignments", env_id="abcdefghij0123456789", build_id=tool.id(BUILD), tag="default")
    templates = TemplateRepo(tool.database.sessions, tasks)
    template = await templates.get(Team(TEAM, "e2b-integration", "E2B", 20, 1), parse_template_reference("tool-made"))
    assert (template.build_id, template.vcpu, template.disk_mb) == (BUILD, 2, 1024)
    # Backfilled by the assignment.
    assert await tool.read("SELECT env_id, team_id IS NOT NULL FROM env_builds") == [("abcdefghij0123456789", True)]


async def test_status_group_follows_every_change_of_status(tool: Tool) -> None:
    sizes = {"vcpu": 2, "ram_mb": 512, "free_disk_size_mb": 512, "firecracker_version": ""}
    # E2B's own statements name the column; only PostgreSQL has one that takes it.
    named = {"status_group": "ready"} if tool.is_postgres else {}
    await tool.insert("env_builds", id=tool.id(BUILD), **sizes, **named)
    assert await tool.read("SELECT status, status_group FROM env_builds") == [("waiting", "pending")]
    for status, group in (("snapshotting", "in_progress"), ("ready", "ready"), ("failed", "failed")):
        async with tool.database.engine.begin() as connection:
            await connection.execute(text(f"UPDATE env_builds SET status = '{status}'"))
        assert await tool.read("SELECT status_group FROM env_builds") == [(group,)]


async def test_a_snapshot_marks_its_template_and_has_metadata(tool: Tool) -> None:
    await _team(tool)
    for env_id in ("base", "paused"):
        await tool.insert("envs", id=env_id, team_id=tool.id(TEAM))
    await tool.insert_new(
        "snapshots",
        env_id="paused",
        base_env_id="base",
        sandbox_id="iabc",
        team_id=tool.id(TEAM),
        sandbox_started_at="2026-01-01 00:00:00",
        origin_node_id="n1",
        metadata="null",
    )
    assert await tool.read("SELECT id, source FROM envs ORDER BY id") == [("base", "template"), ("paused", "snapshot")]
    assert str((await tool.read("SELECT metadata FROM snapshots"))[0][0]) == "{}"
    await tool.insert_new("volumes", team_id=tool.id(TEAM), name="data", volume_type="test-volume-type")
    await tool.insert_new("clusters", endpoint="e", token="t", name="c")  # a column
    assert [row[0] for row in await tool.read("SELECT id FROM active_envs ORDER BY id")] == ["base", "paused"]


async def test_slugs_are_made_from_names(postgres: Database) -> None:
    """PostgreSQL only: a trigger there (templates contract §3.1, teams)."""
    await upgrade(postgres.engine)
    tool = Tool(postgres)
    names = ("Jörg Müller's Team!", "someone@example.org", "some one", "someone", "日本", "", "INFINITY \uff21\uff22")
    for name in names:
        await tool.insert("teams", name=name.replace("'", "''"), tier="base_v1", email="e")
    slugs = [row[0] for row in await tool.read("SELECT slug FROM teams ORDER BY created_at, id")]
    assert len(set(slugs)) == len(names)
    found = {row[0]: row[1] for row in await tool.read("SELECT name, slug FROM teams")}
    assert found["Jörg Müller's Team!"] == "jorg-mullers-team"
    assert found["someone@example.org"] == "someone"
    assert found["some one"] == "some-one"
    assert found["someone"].startswith("someone-")
    assert found["日本"].startswith("team")
    assert found["INFINITY \uff21\uff22"] == "infinity-ab"
    assert await tool.read("SELECT try_cast_uuid('x'), try_cast_uuid('00000000-0000-0000-0000-000000000000') IS NULL") == [(None, False)]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("UPDATE teams SET is_blocked = true", True),
        ("UPDATE tiers SET concurrent_instances = 3", True),
        ("DELETE FROM team_api_keys", True),
        ("UPDATE team_api_keys SET last_used = CURRENT_TIMESTAMP, name = 'x'", False),
    ],
)
async def test_changes_that_caches_must_hear_of_are_counted(tool: Tool, change: str, counts: bool) -> None:
    """Ours: what every API process watches (REST contract §3.4)."""
    await _team(tool)
    await tool.insert_new("team_api_keys", team_id=tool.id(TEAM), **_columns("api_key", new_api_key(), API_KEY_PREFIX))
    before = await tool.read("SELECT version FROM account_version")
    async with tool.database.engine.begin() as connection:
        await connection.execute(text(change))
    assert (await tool.read("SELECT version FROM account_version") != before) is counts
