"""`sandbank team|user|key|token|migrate` as a person or a script uses them, while an API runs on the same database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from sandbank.db.database import Database, sqlite_url
from sandbank.db.schema import upgrade
from sandbank.domain.development import TEAM_SLUG, USER_ID
from tests.integration.accounts.conftest import Accounts
from tests.integration.accounts.test_api_keys import said, soon


class Command:
    """Runs the program; `lines` is what it wrote to standard output."""

    def __init__(self, url: str) -> None:
        self._environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "LANG": "C.UTF-8"}
        if url.startswith("postgresql"):
            self._environment["POSTGRES_CONNECTION_STRING"] = url.replace("postgresql+asyncpg", "postgresql")
        else:
            self._environment["SANDBANK_DATA_DIR"] = str(Path(url.partition("///")[2]).parent)

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbank.cli.main",
            *arguments,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode().rstrip("\n"), err.decode().rstrip("\n")

    async def says(self, *arguments: str) -> str:
        code, out, err = await self.run(*arguments)
        assert (code, err) == (0, "")
        return out

    async def fails(self, *arguments: str) -> str:
        code, out, err = await self.run(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("sandbank: ")
        assert "\n" not in err
        return err


@pytest.fixture
def command(accounts: Accounts, database_url: str, tmp_path: Path) -> Command:
    if database_url.startswith("sqlite"):
        (tmp_path / "sandbank.db").symlink_to(tmp_path / "test.db")
        return Command(sqlite_url(tmp_path / "sandbank.db"))
    return Command(database_url)


async def test_a_person_gets_a_team_working_and_stops_it_again(accounts: Accounts, command: Command) -> None:
    (team,) = json.loads(await command.says("team", "create", "Our Team", "--json"))
    assert (team["slug"], team["limits"]["concurrent_sandboxes"]) == ("our-team", 20)
    user = await command.says("user", "create", "--issuer", "https://issuer.test/", "--subject", "anna")
    await command.says("team", "add-member", "our-team", user)
    key = await command.says("key", "create", "our-team", "--name", "ci")
    headers = {"X-API-Key": key}
    assert (await accounts.client.get("/sandboxes", headers=headers)).status_code == 200
    assert (await accounts.client.get("/sandboxes", headers=accounts.member("anna", team["team_id"]))).status_code == 200
    listed = await command.says("key", "list", "our-team")
    assert f"e2b_{key[4:6]}...{key[-4:]}" in listed
    assert key not in listed

    await command.says("team", "ban", "our-team")
    await soon(accounts.client, headers, 403)
    await command.says("team", "unban", "our-team")
    await soon(accounts.client, headers, 200)
    await command.says("team", "block", "our-team", "--reason", "unpaid")
    blocked = accounts.member("anna", team["team_id"])
    for _ in range(50):
        answer = await accounts.client.post("/api-keys", headers=blocked, json={"name": "x"})
        if answer.status_code == 403:
            break
        await asyncio.sleep(0.05)
    said(answer, 403, "team is blocked: unpaid")
    assert "blocked: unpaid" in await command.says("team", "list")

    (entry,) = json.loads(await command.says("key", "list", "our-team", "--json"))[:1]
    await command.says("key", "delete", "our-team", entry["key_id"])
    await soon(accounts.client, headers, 401)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_tokens_limits_and_errors(accounts: Accounts, command: Command) -> None:
    token = await command.says("token", "create", USER_ID)
    assert (await accounts.client.get("/teams", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert f"{token[:9]}...{token[-4:]}" in await command.says("token", "list", USER_ID)
    limits = json.loads(await command.says("team", "limits", TEAM_SLUG, "--concurrent-sandboxes", "3", "--json"))
    assert limits["concurrent_sandboxes"] == 3
    assert "10000" in await command.says("team", "limits", TEAM_SLUG, "--reset")
    assert "team list" in await command.fails("key", "create", "nobody")
    assert "user list" in await command.fails("token", "create", "nobody")
    assert "there are base_v1, local_v1" in await command.fails("team", "create", "x", "--tier", "pro")


async def test_the_schema_moves_down_and_up(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    await upgrade(database.engine)
    await database.close()
    if database_url.startswith("sqlite"):
        (tmp_path / "test.db").rename(tmp_path / "sandbank.db")
        database_url = sqlite_url(tmp_path / "sandbank.db")
    command = Command(database_url)
    status = json.loads(await command.says("migrate", "postgres", "status", "--json"))
    assert (len(status["applied"]) >= 2, status["pending"], status["unknown"]) == (True, [], [])
    undone = await command.says("migrate", "postgres", "down", "--to", "0001", "--yes")
    assert undone.startswith("Undid 0002")
    lines = (await command.says("migrate", "postgres", "status")).splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["applied", "0001"], ["pending", "0002"]]
    assert (await command.says("migrate", "postgres", "up")).startswith("Applied 0002")
    assert await command.says("migrate", "postgres", "up") == "Nothing was pending."
    assert "7777 is not applied" in await command.fails("migrate", "postgres", "down", "--to", "7777")


async def test_no_installation_is_a_clear_line(tmp_path: Path) -> None:
    command = Command(sqlite_url(tmp_path / "sandbank.db"))
    assert "sandbank up" in await command.fails("team", "list")
    assert not (tmp_path / "sandbank.db").exists()
