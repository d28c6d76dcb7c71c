"""Who may do what, in the contract's words."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build, database_url
from sandbank.db.database import Database
from sandbank.db.models_accounts import Team, TeamApiKey
from sandbank.db.seed import seed_generated, seed_local_development
from sandbank.domain.development import ACCESS_TOKEN, API_KEY, TEAM_ID
from sandbank.domain.errors import InvalidError
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import LiveApi, free_port, seed
from tests.integration.api.grpc_node import GrpcNode
from tests.integration.api.test_lifecycle import eventually
from tests.integration.api.test_sandboxes import create, refused

KEY = "Invalid API key, please visit https://e2b.dev/docs/api-key for more information.\n"
UNKNOWN_KEY = "e2b_" + "0" * 40


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "authorization header is missing"),
        ({"Authorization": "Basic x"}, 401, "authorization header is malformed"),
        ({"X-API-Key": "nonsense"}, 401, f"{KEY}Invalid API key format"),
        ({"X-API-Key": UNKNOWN_KEY}, 401, f"{KEY}Cannot get the team for the given API key"),
        ({"Authorization": f"Bearer {ACCESS_TOKEN}"}, 401, "Invalid auth provider token.\nBackend authentication failed"),
        ({"X-Admin-Token": "wrong", "X-Team-ID": TEAM_ID}, 401, "Invalid Access token.\nInvalid Access token."),
        ({"X-Admin-Token": "operator", "X-Team-ID": "x"}, 400, "Invalid admin token teamID.\nInvalid team ID"),
        ({"X-Admin-Token": "operator", "X-Team-ID": str(uuid.UUID(int=1))}, 404, "Invalid admin token teamID.\nTeam not found"),
        ({"X-API-Key": UNKNOWN_KEY, "X-Admin-Token": "wrong"}, 401, f"{KEY}Cannot get the team for the given API key"),
    ],
)
async def test_refused(api: LiveApi, headers: dict[str, str], status: int, message: str) -> None:
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as stranger:
        for method, path in (("GET", "/v2/sandboxes"), ("POST", "/v2/sandboxes"), ("DELETE", "/sandboxes/not_an_id")):
            response = await stranger.request(method, path, headers=headers)
            refused(response, status, message)
            assert response.json()["message"] == message


async def test_operators_act_for_teams(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as operator:
        headers = {"X-Admin-Token": "operator", "X-Team-ID": TEAM_ID.upper()}
        assert (await operator.get(f"/sandboxes/{sandbox_id}", headers=headers)).status_code == 200
        wrong_key_too = headers | {"X-API-Key": UNKNOWN_KEY}
        assert (await operator.get(f"/sandboxes/{sandbox_id}", headers=wrong_key_too)).status_code == 200


async def test_the_command_line_logs_in(api: LiveApi) -> None:
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as cli:
        refused(await cli.get("/teams", headers={"X-API-Key": API_KEY}), 401, "authorization header is missing")
        refused(await cli.get("/teams", headers={"Authorization": "Bearer sk_e2b_00"}), 401, "Cannot get the user")
        (team,) = (await cli.get("/teams", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"})).json()
        assert (team["teamID"], team["isDefault"]) == (TEAM_ID, True)
        assert (await cli.get("/sandboxes", headers={"X-API-Key": team["apiKey"]})).status_code == 200


async def _change_team(settings: ApiSettings, **values: Any) -> None:
    database = Database(database_url(settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Team).values(**values))
    await database.close()


async def test_banned_teams(api: LiveApi) -> None:
    await _change_team(api.settings, is_banned=True)
    for response in (await api.client.get("/sandboxes"), await api.client.post("/v2/sandboxes")):
        assert (response.status_code, response.json()) == (403, {"code": 403, "message": "team is banned"})


async def test_blocked_teams_look_and_clean_up(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    await _change_team(api.settings, is_blocked=True, blocked_reason="unpaid")
    await api.restart()
    for method, path in (("POST", "/v2/sandboxes"), ("POST", "/sandboxes/iabsent/pause"), ("POST", f"/sandboxes/{sandbox_id}/timeout")):
        response = await api.client.request(method, path)
        assert (response.status_code, response.json()) == (403, {"code": 403, "message": "team is blocked: unpaid"})
    for path in ("/sandboxes", "/v2/sandboxes", f"/sandboxes/{sandbox_id}", "/snapshots"):
        assert (await api.client.get(path)).status_code == 200
    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204


async def test_the_use_of_a_key_is_noted(api: LiveApi) -> None:
    await create(api)
    database = Database(database_url(api.settings))

    async def counted() -> bool:
        async with database.sessions() as session:
            return await session.scalar(select(TeamApiKey.last_used)) is not None

    await eventually(counted)
    await database.close()


async def test_exposed_installations_refuse_what_everybody_knows(tmp_path: Path, node: GrpcNode) -> None:
    settings = ApiSettings(
        data_dir=tmp_path, api_port=free_port(), internal_grpc_port=None, nodes=(node.address,), allow_seeded_credentials=False
    )
    exposed = build(settings, catalog=MemoryCatalog())
    try:
        with pytest.raises(InvalidError, match="SANDBOX_ACCESS_TOKEN_HASH_SEED"):
            await exposed.start()
    finally:
        await exposed.stop()

    settings = settings.model_copy(update={"sandbox_access_token_hash_seed": SecretStr("our own")})
    database = Database(database_url(settings))
    await seed(database)
    credentials = await seed_generated(database.sessions)
    # Even where somebody puts the rows back.
    await seed_local_development(database.sessions)
    await database.close()
    exposed = build(settings, catalog=MemoryCatalog())
    await exposed.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.api_port}", trust_env=False) as client:
            seeded = await client.get("/sandboxes", headers={"X-API-Key": API_KEY})
            refused(seeded, 401, "Cannot get the team for the given API key")
            refused(await client.get("/teams", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}), 401, "Cannot get the user")
            assert (await client.get("/sandboxes", headers={"X-API-Key": credentials.api_key})).status_code == 200
            teams = await client.get("/teams", headers={"Authorization": f"Bearer {credentials.access_token}"})
            assert teams.status_code == 200
    finally:
        await exposed.stop()
