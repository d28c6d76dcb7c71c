"""How the real command line says who it is: a key of the environment or of its file (sdk-latest contract §5)."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.conformance.command_line.conftest import attempt
from tests.product.instance import SEEDED_ACCESS_TOKEN, SEEDED_API_KEY, Instance

UNKNOWN = "e2b_" + "0" * 32


def configured(environment: dict[str, str], home: Path, key: str, team: str) -> dict[str, str]:
    """The environment of somebody who has logged in."""
    config = {
        "version": 2,
        "identity": {"email": "me@example.com"},
        "oauth": {"token_endpoint": "t", "revoke_endpoint": "r", "client_id": "c"},
        "tokens": {"access_token": "a", "refresh_token": "r"},
        "projectName": "mine",
        "projectId": team,
        "projectApiKey": key,
    }
    (home / ".e2b").mkdir()
    (home / ".e2b" / "config.json").write_text(json.dumps(config))
    return {name: value for name, value in environment.items() if name != "E2B_API_KEY"} | {"HOME": str(home)}


def test_the_key_of_the_file_works_and_so_does_one_that_the_api_made(
    e2b_environment: dict[str, str], server: Instance, tmp_path: Path
) -> None:
    """The key that `GET /teams` makes is what `auth login` and `auth configure` write down (rest-api contract §16.1)."""
    answer = httpx.get(f"{server.api_url}/teams", headers={"Authorization": f"Bearer {SEEDED_ACCESS_TOKEN}"})
    (team,) = [team for team in answer.json() if team["isDefault"]]
    environment = configured(e2b_environment, tmp_path, team["apiKey"], team["teamID"])
    status, printed, complaint = attempt(environment, "sandbox", "list", "--format", "json")
    assert status == 0, complaint
    assert isinstance(json.loads(printed), list)
    status, printed, _ = attempt(environment, "auth", "info")
    assert status == 0
    assert "me@example.com" in printed


def test_the_key_of_the_environment_wins_over_the_file(e2b_environment: dict[str, str], tmp_path: Path) -> None:
    environment = configured(e2b_environment, tmp_path, UNKNOWN, "t") | {"E2B_API_KEY": SEEDED_API_KEY}
    status, _, complaint = attempt(environment, "sandbox", "list")
    assert status == 0, complaint


def test_a_key_that_nobody_has_is_refused_clearly(e2b_environment: dict[str, str]) -> None:
    for command in (["list"], ["logs", "iabcdefghijklmnopqrst"], ["create", "--detach"]):
        status, printed, complaint = attempt(e2b_environment | {"E2B_API_KEY": UNKNOWN}, "sandbox", *command)
        assert status == 1, printed
        assert "unauthorized" in complaint.lower()


def test_without_a_key_the_command_says_how_to_get_one(e2b_environment: dict[str, str]) -> None:
    environment = {name: value for name, value in e2b_environment.items() if name != "E2B_API_KEY"}
    status, _, complaint = attempt(environment, "sandbox", "list")
    assert status == 1
    assert "E2B_API_KEY" in complaint
    assert "Not logged in" in attempt(environment, "auth", "info")[1]
