"""Two teams on one installation: for each, what is the other's does not exist (REST contract §8.0)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from sandbank.api.wiring import database_url
from sandbank.db.database import Database
from sandbank.db.models_accounts import Team, Tier
from sandbank.db.seed import api_key_row
from sandbank.domain.credentials import new_api_key
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_sandboxes import create

NOBODYS = "i" + "0" * 20


@pytest.fixture
async def stranger(api: LiveApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another team."""
    database, team_id, key = Database(database_url(api.settings)), uuid.uuid4(), new_api_key()
    async with database.sessions.begin() as session:
        tier = await session.get(Tier, "base_v1")
        assert tier is not None
        session.add(Team(id=team_id, name="strangers", slug="strangers", email="strangers@example.com", tier=tier.id))
        await session.flush()
        session.add(api_key_row(key, team_id, "theirs", None))
    await database.close()
    async with httpx.AsyncClient(base_url=api.url, headers={"X-API-Key": key}, trust_env=False) as client:
        yield client


async def _routes(api: LiveApi) -> list[tuple[str, str]]:
    """Every route about one sandbox that the application has, those of later releases included."""
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods if "{sandboxID}" in path]
    assert len(found) >= 10
    return found


async def test_no_route_tells_a_strangers_sandbox_from_none(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    theirs = (await create(api))["sandboxID"]
    for method, path in await _routes(api):
        answers = [
            await stranger.request(method, path.format(sandboxID=sandbox_id), json={"timeout": 1, "duration": 1})
            for sandbox_id in (theirs, NOBODYS)
        ]
        # What was kept of a sandbox is asked for without asking whether there is one (§12, §13); here nothing is kept of any.
        expected = {400, 503} if path.endswith(("/logs", "/metrics")) else {404}
        assert answers[0].status_code == answers[1].status_code, (method, path)
        assert answers[0].status_code in expected, (method, path, answers[0].text)
        assert answers[0].text.replace(theirs, NOBODYS) == answers[1].text
    mine = await api.client.get(f"/sandboxes/{theirs}")
    assert mine.status_code == 200, "it was not touched"


async def test_lists_are_a_teams_own(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    theirs = await create(api)
    for path in ("/sandboxes", "/v2/sandboxes", "/v2/sandboxes?state=running,paused&metadata="):
        assert theirs["sandboxID"] not in (await stranger.get(path)).text
    assert (await stranger.get("/v2/sandboxes")).headers["X-Total-Running"] == "0"


async def test_the_key_of_a_request_is_a_teams_own(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """Else a guessed `Idempotency-Key` would hand over a sandbox with its tokens."""
    request = {"templateID": "base", "timeout": 60}
    headers = {"Idempotency-Key": "the-same"}
    made = [(await client.post("/v2/sandboxes", json=request, headers=headers)).json() for client in (api.client, stranger)]
    assert made[0]["sandboxID"] != made[1]["sandboxID"]


async def test_a_team_named_beside_the_key_changes_nothing(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    theirs = (await create(api))["sandboxID"]
    mine = (await api.client.get("/teams", headers={"X-Team-ID": "x"})).status_code
    assert mine == 401
    for headers in (
        {"X-Team-ID": "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"},
        {"X-Team-ID": "0b8a3ded-4489-4722-afd1-1d82e64ec2d5", "X-Admin-Token": ""},
    ):
        assert (await stranger.get(f"/sandboxes/{theirs}", headers=headers)).status_code == 404
