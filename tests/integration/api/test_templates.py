"""Templates over HTTP: lists, tags, aliases, visibility, deletion (rest-api contract §14.8–§15, templates contract §1.11)."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import update

from sandbank.api.wiring import database_url
from sandbank.db.database import Database
from sandbank.db.models_templates import Env
from sandbank.domain.development import ACCESS_TOKEN, TEAM_ID, USER_ID
from tests.integration.api.conftest import LiveApi
from tests.integration.api.template_calls import NOWHERE, build, request, started, status, until_said
from tests.integration.api.test_sandboxes import create, refused
from tests.integration.api.test_template_builds import by_user
from tests.integration.api.test_tenants import stranger as stranger  # a fixture

NO_BUILD = "00000000-0000-0000-0000-000000000000"


async def ask(api: LiveApi, path: str, **query: Any) -> Any:
    response = await api.client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def tag(api: LiveApi, target: str, *tags: str) -> dict[str, Any]:
    response = await api.client.post("/templates/tags", json={"target": target, "tags": tags})
    assert response.status_code == 201, response.text
    tagged: dict[str, Any] = response.json()
    return tagged


async def untag(api: LiveApi, name: str, *tags: str) -> httpx.Response:
    return await api.client.request("DELETE", "/templates/tags", json={"name": name, "tags": tags})


async def test_a_list_shows_what_sandboxes_would_be_made_of(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§14.8, §1.11: the newest ready default build, and the state of the newest of any."""
    ready = await build(api, "ready", cpuCount=4, memoryMB=512)
    await started(api, await request(api, "ready", cpuCount=8))
    await request(api, "new", stranger)
    waiting = await request(api, "waiting")
    base, first, second = await ask(api, "/templates")
    assert (base["names"], base["isDefault"], base["createdBy"]) == (["base"], True, {"id": USER_ID, "email": None})
    assert first == first | {
        "templateID": ready["templateID"],
        "buildID": ready["buildID"],
        "cpuCount": 4,
        "memoryMB": 512,
        "diskSizeMB": 2048,
        "names": ["local-dev-team/ready"],
        "aliases": ["ready"],
        "buildStatus": "building",
        "envdVersion": "0.6.13",
        "buildCount": 2,
        "public": False,
        "isDefault": False,
    }
    assert (second["templateID"], second["buildID"], second["cpuCount"], second["buildStatus"], second["envdVersion"]) == (
        waiting["templateID"],
        NO_BUILD,
        0,
        "waiting",
        "",
    )
    assert [one["templateID"] for one in (await by_user(api, "GET", "/templates")).json()] == [
        one["templateID"] for one in (base, first, second)
    ]
    for path in ("/templates", "/v2/templates"):
        refused(await api.client.get(path, params={"teamID": NOWHERE}), 400, "Team ID param mismatch with the API key")
        assert len(await ask(api, path, teamID=TEAM_ID)) == 3
        refused(await by_user(api, "GET", path, params={"teamID": NOWHERE}), 403, "You are not allowed to access this team")


async def test_pages_never_repeat_a_template(api: LiveApi) -> None:
    """§14.9."""
    made = [(await request(api, f"t{number}"))["templateID"] for number in range(3)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while True:
        response = await api.client.get("/v2/templates", params=query)
        seen += [one["templateID"] for one in response.json()]
        if "X-Next-Token" not in response.headers:
            break
        query = {"limit": 1, "nextToken": response.headers["X-Next-Token"]}
    assert (seen[:3], len(seen)) == (made[::-1], 4)
    refused(await api.client.get("/v2/templates", params={"nextToken": "x"}), 400, "Invalid next token")


async def test_one_template_with_its_builds(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§14.10: by ID alone, newest builds first."""
    made = [await build(api), await build(api, "mine:other"), await request(api)]
    path = f"/templates/{made[0]['templateID']}"
    response = await api.client.get(path, params={"limit": 2})
    found = response.json()
    assert [one["buildID"] for one in found["builds"]] == [made[2]["buildID"], made[1]["buildID"]]
    assert [one["status"] for one in found["builds"]] == ["waiting", "ready"]
    assert ("finishedAt" in found["builds"][0], found["builds"][1]["diskSizeMB"]) == (False, 2048)
    rest = await api.client.get(path, params={"limit": 2, "nextToken": response.headers["X-Next-Token"]})
    assert [one["buildID"] for one in rest.json()["builds"]] == [made[0]["buildID"]]
    assert "X-Next-Token" not in rest.headers
    refused(await api.client.get("/templates/mine"), 404, "Template mine not found")
    refused(await stranger.get(path), 403, f"You don't have access to this sandbox template ({made[0]['templateID']})")


async def test_default_templates_hide_how_others_use_them(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """sdk-latest §1.5."""
    await create(api)
    (ours,), (theirs,) = await ask(api, "/default-templates"), (await stranger.get("/default-templates")).json()
    assert (ours["names"], ours["isDefault"], ours["buildStatus"], ours["buildCount"]) == (["base"], True, "ready", 0)
    assert theirs == ours | {"spawnCount": 0, "buildCount": 0, "lastSpawnedAt": None, "createdBy": None}


async def test_a_tag_stands_for_what_it_was_given_last(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§15.1–§15.3, §12.3.10: at once, in every place."""
    old, new = await build(api, "mine:old"), await build(api)
    assert await tag(api, "mine:old", "Stable", "v1", "stable") == {"tags": ["stable", "v1"], "buildID": old["buildID"]}
    for name, expected in (("mine:stable", old), ("mine", new), (f"mine:{old['buildID']}", old)):
        await create(api, templateID=name)
        assert api.node.created[-1].sandbox.build_id == expected["buildID"]
    await tag(api, f"local-dev-team/mine:{new['buildID']}", "stable")
    await create(api, templateID="mine:stable")
    assert api.node.created[-1].sandbox.build_id == new["buildID"]
    rows = await ask(api, f"/templates/{new['templateID']}/tags")
    assert [(row["tag"], row["buildID"]) for row in rows] == [
        ("default", new["buildID"]),
        ("old", old["buildID"]),
        ("stable", new["buildID"]),
        ("v1", old["buildID"]),
    ]
    assert (await untag(api, "mine", "stable", "never")).status_code == 204
    refused(await api.client.post("/sandboxes", json={"templateID": "mine:stable"}), 404, "tag 'stable' does not exist for template 'mine'")
    for target, tags, code, message in (
        ("mine", [], 400, "At least one tag is required"),
        ("a b", ["x"], 400, "Invalid target template format: invalid template ID: a b"),
        ("mine", [""], 400, "Invalid tag: "),
        ("mine", [str(uuid.uuid4())], 400, "tag cannot be a UUID"),
        ("absent", ["x"], 404, "template 'absent' not found"),
        ("mine:absent", ["x"], 404, "Template 'mine' with tag 'absent' not found"),
    ):
        refused(await api.client.post("/templates/tags", json={"target": target, "tags": tags}), code, message)
    for name, tags, message in (
        ("mine", ["a!"], "Invalid tag: "),
        ("mine", [], "At least one tag is required"),
        ("mine", ["default"], "Cannot delete the 'default' tag"),
        ("a b", ["x"], "Invalid template name format: "),
        ("mine:v1", ["x"], "Template name should not contain a tag, use the 'tags' field instead"),
    ):
        refused(await untag(api, name, *tags), 400, message)
    denied = f"You don't have access to sandbox template '{new['templateID']}'"
    for response in (
        await stranger.post("/templates/tags", json={"target": new["templateID"], "tags": ["x"]}),
        await stranger.request("DELETE", "/templates/tags", json={"name": new["templateID"], "tags": ["x"]}),
        await stranger.get(f"/templates/{new['templateID']}/tags"),
    ):
        refused(response, 403, denied)


async def test_what_tags_have_stood_for(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """sdk-latest §1.5: ready builds only; foreign templates are not there."""
    first, second = await build(api, "mine:a__b"), await build(api, "mine:a__b", tags=["c", "d"])
    await request(api, "mine:unready")
    await tag(api, "mine:c", "a__b")
    path = f"/templates/{first['templateID']}/tags"
    assert await ask(api, f"{path}/count") == {"total": 3}
    assert await ask(api, f"{path}/exists", tag=" A__B ") == {"exists": True, "normalizedTag": "a__b"}
    assert (await ask(api, f"{path}/exists", tag="unready"))["exists"] is False
    page = await ask(api, f"{path}/a__b/assignments", limit=2)
    assert [one["buildId"] for one in page["data"]] == [second["buildID"], second["buildID"]]
    rest = await ask(api, f"{path}/a__b/assignments", limit=2, cursor=page["nextCursor"])
    assert ([one["buildId"] for one in rest["data"]], rest["nextCursor"]) == ([first["buildID"]], None)
    for sort, expected in (
        ("latest_desc", ["a__b", "d", "c"]),
        ("latest_asc", ["c", "d", "a__b"]),
        ("name_asc", ["a__b", "c", "d"]),
        ("name_desc", ["d", "c", "a__b"]),
    ):
        seen, cursor = [], None
        while True:
            query = {"sort": sort, "tagsLimit": 1, "assignmentLimit": 2} | ({} if cursor is None else {"tagsCursor": cursor})
            found = await ask(api, f"{path}/groups", **query)
            seen += found["tags"]
            cursor = found["nextCursor"]
            if cursor is None:
                break
        assert [one["tag"] for one in seen] == expected
        assert {one["tag"]: (len(one["assignments"]), one["hasMore"]) for one in seen}["a__b"] == (2, True)
    assert [one["tag"] for one in (await ask(api, f"{path}/groups", search="_"))["tags"]] == ["a__b"]
    for bad in (f"{path}/groups?tagsCursor=x", f"{path}/a__b/assignments?cursor={page['nextCursor'][:-8]}"):
        refused(await api.client.get(bad), 400, "Invalid cursor")
    for end in ("count", "exists?tag=c", "groups", "c/assignments"):
        refused(await stranger.get(f"{path}/{end}"), 404, f"Template {first['templateID']} not found")


async def test_names_are_looked_up_by_status(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§15.4."""
    made = await build(api)
    for name in ("mine", "local-dev-team/mine", made["templateID"], "mine:default", f"mine:{made['buildID']}"):
        found = await ask(api, f"/templates/aliases/{quote(name, safe='')}")
        assert found == {"templateID": made["templateID"], "public": False}
    refused(await api.client.get("/templates/aliases/absent"), 404, "not found")
    refused(await api.client.get("/templates/aliases/mine%3Av9"), 404, "tag 'v9' does not exist for template 'mine'")
    refused(await api.client.get("/templates/aliases/a%20b"), 400, "Invalid alias format: ")
    for name in ("base", "local-dev-team%2Fmine"):
        refused(await stranger.get(f"/templates/aliases/{name}"), 403, "You don't have access to this template alias")
    refused(await stranger.get("/templates/aliases/mine"), 404, "not found")


async def test_public_templates_are_everybodys(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§14.11, §1.11: the older route promotes the name, too."""
    made = await build(api)
    refused(await stranger.post("/sandboxes", json={"templateID": "local-dev-team/mine"}), 404, "template 'local-dev-team/mine' not found")
    response = await api.client.patch("/v2/templates/mine", json={"public": True})
    assert (response.status_code, response.json()) == (200, {"names": ["local-dev-team/mine"]})
    for name in ("local-dev-team/mine", made["templateID"]):
        assert (await stranger.post("/sandboxes", json={"templateID": name})).status_code == 201
    refused(await stranger.post("/sandboxes", json={"templateID": "mine"}), 404, "template 'mine' not found")
    older = await by_user(api, "PATCH", f"/templates/{made['templateID']}", json={"public": True})
    assert (older.status_code, older.json()) == (200, None)
    assert (await stranger.post("/sandboxes", json={"templateID": "mine"})).status_code == 201
    theirs = await request(api, "mine", stranger)
    taken = await stranger.patch(f"/templates/{theirs['templateID']}", json={"public": True})
    refused(taken, 409, "Public template name 'mine' is already taken. Your template is available at 'strangers/mine'.")
    assert (await stranger.get("/templates/aliases/strangers%2Fmine")).json()["public"] is True
    unchanged = await api.client.patch(f"/v2/templates/{made['templateID']}", json={})
    assert unchanged.json() == {"names": ["mine", "local-dev-team/mine"]}
    await api.client.patch("/v2/templates/mine", json={"public": False})
    refused(await stranger.post("/sandboxes", json={"templateID": made["templateID"]}), 404, "not found")
    refused(await api.client.patch("/v2/templates/absent", json={}), 404, "template 'absent' not found")
    refused(await by_user(api, "PATCH", "/v2/templates/mine", json={}), 404, "template 'mine' not found")
    denied = f"You don't have access to template '{made['templateID']}'"
    refused(await stranger.patch(f"/v2/templates/{made['templateID']}", json={"public": True}), 403, denied)


async def test_what_nothing_is_made_of_can_be_deleted(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§14.12, §12.3.11, §12.3.12."""
    made = await build(api)
    refused(await stranger.delete("/templates/mine"), 404, "template 'mine' not found")
    refused(await stranger.delete("/templates/local-dev-team%2Fmine"), 404, "not found")
    denied = f"You don't have access to template '{made['templateID']}'"
    refused(await stranger.delete(f"/templates/{made['templateID']}"), 403, denied)
    await api.client.patch("/v2/templates/mine", json={"public": True})
    sandbox = (await stranger.post("/sandboxes", json={"templateID": made["templateID"]})).json()
    in_use = f"cannot delete template '{made['templateID']}' because there are"
    refused(await api.client.delete("/templates/mine"), 400, f"{in_use} running sandboxes using it")
    assert (await stranger.post(f"/sandboxes/{sandbox['sandboxID']}/pause", json={})).status_code == 204
    refused(await api.client.delete("/templates/mine"), 400, f"{in_use} paused sandboxes using it")
    await stranger.delete(f"/sandboxes/{sandbox['sandboxID']}")
    running = await request(api, "mine:other")
    await started(api, running)
    assert (await api.client.delete("/templates/mine%3Aother")).status_code == 204
    for build_id in (made["buildID"], running["buildID"]):
        await until_said(api, build_id)
    assert (await status(api, running))["reason"]["message"] == "build was cancelled"
    refused(await api.client.post("/sandboxes", json={"templateID": "mine"}), 404, "template 'mine' not found")
    refused(await api.client.delete("/templates/mine"), 404, "template 'mine' not found")
    refused(await api.client.post("/v3/templates", json={"name": made["templateID"]}), 409, "is already used")
    assert (await request(api))["templateID"] != made["templateID"]


async def test_a_user_deletes_by_id_what_is_their_teams(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§4.3: users say IDs and no names."""
    made, theirs = await request(api), await request(api, "theirs", stranger)
    refused(await by_user(api, "DELETE", "/templates/mine"), 404, "template 'mine' not found")
    refused(await by_user(api, "DELETE", f"/templates/{theirs['templateID']}"), 403, "You don't have access to template")
    assert (await by_user(api, "DELETE", f"/templates/{made['templateID']}")).status_code == 204
    wrong = {"Authorization": f"Bearer {ACCESS_TOKEN[:-1]}0"}
    async with httpx.AsyncClient(base_url=api.url, headers=wrong, trust_env=False) as nobody:
        assert (await nobody.delete(f"/templates/{made['templateID']}")).status_code == 401


@pytest.mark.parametrize("path", ["/templates/{}", "/templates/{}/tags", "/templates/{}/tags/count"])
async def test_what_is_behind_a_paused_sandbox_is_no_template(api: LiveApi, path: str) -> None:
    made = await request(api)
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Env).where(Env.id == made["templateID"]).values(source="snapshot"))
    await database.close()
    refused(await api.client.get(path.format(made["templateID"])), 404, "not found")
