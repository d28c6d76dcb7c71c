"""Who may manage which keys and tokens (REST contract §16.2, §16.3, §17), and how soon that counts everywhere (§3.4)."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from sandbank.api.adapters.account_teams import AccountTeams
from sandbank.api.adapters.account_users import AccountUsers
from sandbank.api.core.access_keys import AccessTokens
from sandbank.api.core.ports import Identity
from sandbank.db.models_accounts import Team, TeamApiKey
from sandbank.domain.credentials import API_KEY_PREFIX, hash_credential
from sandbank.domain.development import ACCESS_TOKEN, API_KEY, TEAM_ID, USER_ID
from tests.integration.accounts.conftest import KEY, OPERATOR, Accounts
from tests.product.identity_provider import ISSUER

ADMIN = {"X-Admin-Token": "operator"}


def said(response: httpx.Response, status: int, message: str) -> None:
    assert (response.status_code, response.json()) == (status, {"code": status, "message": message})


async def soon(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    """Another process follows within a second; the test gives it five."""
    end = time.monotonic() + 5
    while (await client.get("/sandboxes", headers=headers)).status_code != status:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def created(accounts: Accounts, name: str = "ci") -> dict[str, Any]:
    response = await accounts.client.post("/api-keys", headers=accounts.member(), json={"name": name})
    assert response.status_code == 201
    body: dict[str, Any] = response.json()
    return body


async def test_members_make_name_and_delete_keys(accounts: Accounts) -> None:
    key = await created(accounts, "  ci ")
    raw = key["key"]
    assert (key["name"], key["createdBy"], key["lastUsed"]) == ("ci", {"id": USER_ID, "email": None}, None)
    assert key["mask"] == {"prefix": "e2b_", "valueLength": 40, "maskedValuePrefix": raw[4:6], "maskedValueSuffix": raw[-4:]}
    assert (await accounts.client.get("/sandboxes", headers={"X-API-Key": raw})).status_code == 200
    renamed = await accounts.client.patch(f"/api-keys/{key['id']}", headers=accounts.member(), json={"name": "deploy"})
    assert (renamed.status_code, renamed.content) == (202, b"")
    listed = (await accounts.client.get("/api-keys", headers=accounts.member())).json()
    assert [item["name"] for item in listed] == ["local dev seed token", "deploy"]
    assert all("key" not in item for item in listed)
    assert raw not in str(listed)
    gone = await accounts.client.delete(f"/api-keys/{key['id']}", headers=accounts.member())
    assert (gone.status_code, gone.content) == (204, b"")
    # At once in this process, cached as it was.
    assert (await accounts.client.get("/sandboxes", headers={"X-API-Key": raw})).status_code == 401
    for method in ("DELETE", "PATCH"):
        again = await accounts.client.request(method, f"/api-keys/{key['id']}", headers=accounts.member(), json={"name": "x"})
        said(again, 404, "id not found")


async def test_the_raw_key_is_nowhere_in_the_database(accounts: Accounts) -> None:
    raw = (await created(accounts))["key"]
    async with accounts.database.sessions() as session:
        for row in await session.scalars(select(TeamApiKey)):
            assert raw[6:-4] not in str(vars(row))


async def test_an_api_key_cannot_manage_keys(accounts: Accounts) -> None:
    for method, path in (("GET", "/api-keys"), ("POST", "/api-keys"), ("DELETE", f"/api-keys/{uuid.uuid4()}")):
        said(await accounts.client.request(method, path, headers=KEY, json={"name": "x"}), 401, "authorization header is missing")
    token = {"Authorization": f"Bearer {ACCESS_TOKEN}", "X-Team-ID": TEAM_ID}
    refused = await accounts.client.get("/api-keys", headers=token)
    said(refused, 401, "Invalid auth provider token.\nBackend authentication failed")


async def test_operators_see_and_delete_keys_but_do_not_make_them_as_members(accounts: Accounts) -> None:
    key = await created(accounts)
    assert len((await accounts.client.get("/api-keys", headers=OPERATOR)).json()) == 2
    made = await accounts.client.post("/api-keys", headers=OPERATOR, json={"name": "x"})
    said(made, 401, "authorization header is missing")
    assert (await accounts.client.delete(f"/api-keys/{key['id']}", headers=OPERATOR)).status_code == 204


async def test_a_deleted_key_dies_in_every_api_process(accounts: Accounts) -> None:
    key = await created(accounts)
    headers = {"X-API-Key": key["key"]}
    assert (await accounts.other.get("/sandboxes", headers=headers)).status_code == 200
    await accounts.client.delete(f"/api-keys/{key['id']}", headers=accounts.member())
    await soon(accounts.other, headers, 401)


async def test_blocks_by_plain_sql_are_heard_of_in_every_process(accounts: Accounts) -> None:
    for client in (accounts.client, accounts.other):
        assert (await client.get("/sandboxes", headers=KEY)).status_code == 200
    async with accounts.database.sessions.begin() as session:
        await session.execute(update(Team).values(is_banned=True))
    for client in (accounts.client, accounts.other):
        await soon(client, KEY, 403)
        said(await client.get("/sandboxes", headers=KEY), 403, "team is banned")
        said(await client.get("/api-keys", headers=accounts.member()), 403, "team is banned")


async def test_blocked_teams_still_see_and_delete_their_keys(accounts: Accounts) -> None:
    key = await created(accounts)
    await AccountTeams(accounts.database.sessions).set_blocked(TEAM_ID, True, "unpaid")
    await soon(accounts.client, KEY, 200)  # GET /sandboxes stays open
    assert (await accounts.other.get("/api-keys", headers=accounts.member())).status_code == 200
    made = await accounts.other.post("/api-keys", headers=accounts.member(), json={"name": "x"})
    said(made, 403, "team is blocked: unpaid")
    assert (await accounts.other.delete(f"/api-keys/{key['id']}", headers=accounts.member())).status_code == 204
    said(
        await accounts.other.post(f"/admin/teams/{TEAM_ID}/api-keys", headers=ADMIN, json={"name": "x"}),
        403,
        "team is blocked: unpaid",
    )


async def test_other_teams_keys_do_not_exist(accounts: Accounts) -> None:
    mine = await created(accounts)
    users, teams = AccountUsers(accounts.database.sessions), AccountTeams(accounts.database.sessions)
    stranger = await users.create(Identity(ISSUER, "stranger"))
    theirs = await teams.create("Theirs", "", "base_v1", None)
    await users.add_member(theirs.team_id, stranger.user_id, default=False)
    headers = accounts.member("stranger", theirs.team_id)
    assert (await accounts.client.get("/api-keys", headers=headers)).json() == []
    for method in ("DELETE", "PATCH"):
        said(await accounts.client.request(method, f"/api-keys/{mine['id']}", headers=headers, json={"name": "x"}), 404, "id not found")
    # A member of one team is nobody in another, whether it exists or not.
    for team_id in (TEAM_ID, str(uuid.uuid4()), "", "x", f"{{{theirs.team_id}}}", f"urn:uuid:{theirs.team_id}", "\u0660" * 32):
        refused = await accounts.client.get(
            "/api-keys",
            headers=[(b"Authorization", headers["Authorization"].encode()), (b"X-Team-ID", team_id.encode())],
        )
        said(refused, 401, "Invalid auth provider token teamID.\nBackend authentication failed")
    # Who leaves a team is out of it.
    await users.remove_member(theirs.team_id, stranger.user_id)
    end = time.monotonic() + 5
    while (await accounts.client.get("/api-keys", headers=headers)).status_code != 401:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_names_that_cannot_be_read_or_stored_are_refused(accounts: Accounts) -> None:
    for name in ("", "   ", "a\u0000b", "a\nb", "abc\u202etxt", "zero\u200bwidth", "x" * 256, None, 7):
        response = await accounts.client.post("/api-keys", headers=accounts.member(), json={"name": name})
        assert (response.status_code, response.json()["code"]) == (400, 400)
    for name in ("ключ", "キー", "'; DROP TABLE teams; --", "%_"):
        assert (await created(accounts, name))["name"] == name


async def test_ids_that_are_none_are_refused(accounts: Accounts) -> None:
    for text in ("x", "%2e%2e", "1_0", str(uuid.uuid4()).replace("-", ""), "%", "%27%3B--"):
        assert (await accounts.client.delete(f"/api-keys/{text}", headers=accounts.member())).status_code == 400


async def test_operators_make_keys_for_teams(accounts: Accounts) -> None:
    path = f"/admin/teams/{TEAM_ID}/api-keys"
    said(await accounts.client.post(path, headers=KEY, json={"name": "x"}), 401, "authorization header is missing")
    wrong = await accounts.client.post(path, headers={"X-Admin-Token": "operator2"}, json={"name": "x"})
    said(wrong, 401, "Invalid Access token.\nInvalid Access token.")
    made = await accounts.client.post(path, headers=ADMIN, json={"name": "ops"})
    assert (made.status_code, made.json()["createdBy"]) == (201, None)
    headers = {"X-API-Key": made.json()["key"]}
    assert (await accounts.client.get("/sandboxes", headers=headers)).status_code == 200
    assert (await accounts.client.delete(f"{path}/{made.json()['id']}", headers=ADMIN)).status_code == 204
    assert (await accounts.client.get("/sandboxes", headers=headers)).status_code == 401
    said(await accounts.client.delete(f"{path}/{made.json()['id']}", headers=ADMIN), 404, "API key not found")
    for team_id in (str(uuid.uuid4()), "x"):
        said(await accounts.client.post(f"/admin/teams/{team_id}/api-keys", headers=ADMIN, json={"name": "x"}), 404, "Team not found")


async def test_access_tokens_are_for_identified_users(accounts: Accounts) -> None:
    signed_in = {"Authorization": accounts.member()["Authorization"]}
    made = await accounts.client.post("/access-tokens", headers=signed_in, json={"name": "laptop"})
    assert made.status_code == 201
    body = made.json()
    assert set(body) == {"id", "name", "token", "mask", "createdAt"}
    with_token = {"Authorization": f"Bearer {body['token']}"}
    assert [team["teamID"] for team in (await accounts.client.get("/teams", headers=with_token)).json()] == [TEAM_ID]
    said(
        await accounts.client.post("/access-tokens", headers=with_token, json={"name": "x"}),
        401,
        "Invalid auth provider token.\nBackend authentication failed",
    )
    assert (await accounts.client.delete(f"/access-tokens/{body['id']}", headers=signed_in)).status_code == 204
    assert (await accounts.client.get("/teams", headers=with_token)).status_code == 401
    said(await accounts.client.delete(f"/access-tokens/{body['id']}", headers=signed_in), 404, "id not found")


async def test_members_do_what_their_teams_key_may(accounts: Accounts) -> None:
    assert (await accounts.client.get("/sandboxes", headers=accounts.member())).status_code == 200
    assert [team["teamID"] for team in (await accounts.client.get("/teams", headers=accounts.member())).json()] == [TEAM_ID]
    said(
        await accounts.client.get("/sandboxes", headers=accounts.member("nobody")),
        401,
        "Invalid auth provider token.\nBackend authentication failed",
    )
    # The first scheme that was tried is the one whose failure is told; one that succeeds is enough.
    bad_key = {"X-API-Key": "e2b_00"}
    assert (await accounts.client.get("/sandboxes", headers=bad_key | accounts.member())).status_code == 200
    refused = await accounts.client.get("/sandboxes", headers=bad_key | accounts.member("nobody"))
    assert refused.json()["message"].endswith("Cannot get the team for the given API key")
    refused = await accounts.client.get("/teams", headers=accounts.member("nobody"))
    assert refused.json()["message"].endswith("Invalid access token format")


async def test_one_kind_of_credential_is_never_taken_for_another(accounts: Accounts) -> None:
    """The same digits as key and as token have the same hash; caches and tables are apart all the same."""
    digits = ACCESS_TOKEN.removeprefix("sk_e2b_")
    assert (await accounts.client.get("/teams", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"})).status_code == 200
    assert (await accounts.client.get("/sandboxes", headers={"X-API-Key": f"e2b_{digits}"})).status_code == 401
    key_as_token = {"Authorization": f"Bearer sk_{API_KEY}"}
    assert (await accounts.client.get("/teams", headers=key_as_token)).status_code == 401
    stored_hash = hash_credential(API_KEY, API_KEY_PREFIX) or ""
    assert (await accounts.client.get("/sandboxes", headers={"X-API-Key": stored_hash})).status_code == 401


async def test_odd_keys_are_no_keys(accounts: Accounts) -> None:
    odd = ("%", "_" * 44, "e2b_%", "e2b_" + "%25" * 4, "E2B_" + API_KEY[4:], "e2b_", "e2b_0", "e2b_" + "ab" * 30_000, "e2b_\u0660\u0660")
    for value in odd:
        response = await accounts.client.get("/sandboxes", headers=[(b"X-API-Key", value.encode())])
        assert response.status_code in (400, 401, 431), value


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_access_tokens_can_be_given_up(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccessTokens, "is_provisioned", property(lambda _: False), raising=False)
    signed_in = {"Authorization": accounts.member()["Authorization"]}
    response = await accounts.client.post("/access-tokens", headers=signed_in, json={"name": "x"})
    said(response, 410, "Access tokens are not provisioned any more")
    # Strangers are told nothing of it.
    assert (await accounts.client.post("/access-tokens", json={"name": "x"})).status_code == 401
