"""Builds of templates over HTTP and gRPC (templates contract §1, rest-api contract §14.1–§14.7)."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from sandbank.api.wiring import database_url
from sandbank.contracts.info import ServiceInfoRole
from sandbank.db.base import utc_now
from sandbank.db.database import Database
from sandbank.db.models_accounts import Tier
from sandbank.db.models_templates import EnvBuild
from sandbank.domain.development import ACCESS_TOKEN, TEAM_ID
from sandbank.domain.errors import UnavailableError
from tests.integration.api.conftest import LiveApi
from tests.integration.api.grpc_builder import DEBUG, ERROR, WARN
from tests.integration.api.template_calls import NOWHERE, RECIPE, build, path_of, request, start, started, status, until, until_said
from tests.integration.api.test_lifecycle import eventually
from tests.integration.api.test_sandboxes import create, refused
from tests.integration.api.test_tenants import stranger as stranger  # a fixture

USER = {"Authorization": f"Bearer {ACCESS_TOKEN}", "X-API-Key": ""}
SUPERSEDED = "The build was canceled because it was superseded by a newer one."


async def by_user(api: LiveApi, method: str, path: str, **arguments: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}, trust_env=False) as client:
        return await client.request(method, path, **arguments)


async def change_builds(api: LiveApi, **values: Any) -> None:
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(EnvBuild).where(EnvBuild.status_group.in_(("pending", "in_progress"))).values(**values))
    await database.close()


async def test_what_a_builder_is_told_and_what_becomes_of_it(api: LiveApi) -> None:
    """§12.1, §12.4: unknown keys in steps are ignored, sizes are the server's defaults."""
    made = await request(api, "My-App:v2", tags=["prod", "v2"])
    assert made == {
        "templateID": made["templateID"],
        "buildID": made["buildID"],
        "public": False,
        "aliases": ["my-app"],
        "names": ["local-dev-team/my-app"],
        "tags": ["v2", "prod"],
    }
    waiting = await status(api, made)
    assert waiting == {"templateID": made["templateID"], "buildID": made["buildID"], "status": "waiting", "logs": [], "logEntries": []}
    step = {"type": "COPY", "args": ["a", "/b", "", ""], "filesHash": "a" * 64, "force": True}
    recipe = {
        "fromImage": "python:3",
        "fromImageRegistry": {"type": "registry", "username": "u", "password": "p"},
        "force": True,
        "steps": [step | {"forceUpload": True, "gzip": None}, {"type": "RUN", "args": ["ls"]}],
        "startCmd": "python app.py",
        "readyCmd": "sleep 1",
        "unknown": 1,
    }
    told = (await started(api, made, recipe)).request
    config = told.template
    assert (told.cacheScope, told.version, config.teamID) == (TEAM_ID, "v2.1.0", TEAM_ID)
    assert (config.templateID, config.buildID) == (made["templateID"], made["buildID"])
    assert (config.vCpuCount, config.memoryMB, config.diskSizeMB) == (2, 1024, 10240)
    assert (config.fromImage, config.startCommand, config.readyCommand, config.force) == ("python:3", "python app.py", "sleep 1", True)
    assert [(one.type, list(one.args), one.filesHash, one.force) for one in config.steps] == [
        ("COPY", ["a", "/b", "", ""], "a" * 64, True),
        ("RUN", ["ls"], "", False),
    ]
    assert (config.fromImageRegistry.general.username, config.fromImageRegistry.general.password) == ("u", "p")
    api.builder.builds[made["buildID"]].complete()
    await until(api, made, "ready")
    sandbox = await create(api, templateID="my-app:prod")
    assert (sandbox["templateID"], sandbox["alias"], sandbox["envdVersion"]) == (made["templateID"], "my-app", "0.6.13")
    config_of_sandbox = api.node.created[-1].sandbox
    assert (config_of_sandbox.build_id, config_of_sandbox.total_disk_size_mb) == (made["buildID"], 2048)
    refused(await api.client.post("/sandboxes", json={"templateID": "my-app"}), 404, "template 'my-app' not found")


async def test_its_log_comes_in_pages_that_never_move(api: LiveApi) -> None:
    """§1.6, §12.3.6: the offset counts lines of the level asked for; at most a hundred at once."""
    made = await request(api)
    run = await started(api, made)
    run.lines.clear()
    for number in range(250):
        run.say(f"line {number}", DEBUG if number % 2 else WARN, "1")
    seen: list[str] = []
    while page := (await status(api, made, logsOffset=len(seen)))["logEntries"]:
        assert len(page) <= 100
        seen += [one["message"] for one in page]
    assert seen == [f"line {number}" for number in range(250)]
    first = (await status(api, made, limit=2, level="warn", logsOffset=1))["logEntries"]
    assert [(one["message"], one["level"], one["step"]) for one in first] == [("line 2", "warn", "1"), ("line 4", "warn", "1")]
    assert (await status(api, made, limit=0))["logEntries"] == []
    logs = (await api.client.get(f"{path_of(made)}/logs", params={"limit": 2, "direction": "backward"})).json()["logs"]
    assert [one["message"] for one in logs] == ["line 249", "line 248"]
    for source, count in (("temporary", 100), ("persistent", 0)):
        found = (await api.client.get(f"{path_of(made)}/logs", params={"source": source, "direction": "forward"})).json()["logs"]
        assert len(found) == count
    for query in ("limit=101", "level=loud", "logsOffset=-1"):
        refused(await api.client.get(f"{path_of(made)}/status?{query}"), 400, "validation error")


async def test_a_failure_says_which_step_and_its_lines(api: LiveApi) -> None:
    made = await request(api)
    run = await started(api, made)
    run.say("[builder 1/1] [stderr]: no such thing", ERROR, "1")
    run.say("elsewhere", ERROR, "2")
    run.say("fine", step="1")
    run.fail("failed to run command 'x': exit status 1", "1")
    failed = await until(api, made, "error")
    assert (failed["reason"]["message"], failed["reason"]["step"]) == ("failed to run command 'x': exit status 1", "1")
    assert [one["message"] for one in failed["reason"]["logEntries"]] == ["[builder 1/1] [stderr]: no such thing"]
    refused(await start(api, made), 400, "build is not in waiting state")


async def test_a_build_on_top_of_another_template(api: LiveApi) -> None:
    """§1.4: the API resolves it; what is not there fails the build, not the request."""
    base = await build(api, "base-of-mine")
    made = await request(api)
    source = (await started(api, made, {"fromTemplate": "base-of-mine"})).request.template
    assert (source.WhichOneof("source"), source.fromTemplate.alias, source.fromTemplate.buildID) == (
        "fromTemplate",
        "base-of-mine",
        base["buildID"],
    )
    for text, message in (
        ("absent", "template 'absent' not found"),
        ("base-of-mine:v9", "tag 'v9' does not exist for template 'base-of-mine'"),
        ("a b", "invalid template ID: a b"),
    ):
        made = await request(api, "other")
        assert (await start(api, made, {"fromTemplate": text})).status_code == 202
        failed = await status(api, made)
        assert (failed["status"], failed["reason"]) == ("error", {"message": message, "step": "base", "logEntries": []})


@pytest.mark.parametrize(
    ("agent", "version"),
    [
        ("e2b-js-sdk/2.2.9", "v2.0.0"),
        ("e2b-python-sdk/2.3.0 langchain/1", "v2.1.0"),
        ("x e2b-js-sdk/2.49.0 e2b-cli/2.19.0", "v2.1.0"),
        ("curl/8", "v2.1.0"),
    ],
)
async def test_the_clients_version_decides_how_a_build_is_made(api: LiveApi, agent: str, version: str) -> None:
    """§1.0."""
    assert (await started(api, await request(api), agent=agent)).request.version == version


async def test_what_cannot_be_started_stays_as_it_is(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§1.4: the contract's words, in its order."""
    made = await request(api)
    post = api.client.post
    refused(await post(f"/v2/templates/{made['templateID']}/builds/x", json=RECIPE), 400, "Invalid build ID: x")
    for other in (f"{made['templateID']}/builds/{NOWHERE}", f"absent/builds/{made['buildID']}"):
        refused(await post(f"/v2/templates/{other}", json=RECIPE), 404, "Error when getting template: ")
    refused(await stranger.post(f"/v2{path_of(made)}", json=RECIPE), 403, "User does not have access to the template")
    refused(await start(api, made, agent="e2b-js-sdk/beta"), 400, "Error when parsing user agent: ")
    for body in ({}, {"fromImage": ""}, {"fromImage": "a", "fromTemplate": "b"}):
        refused(await start(api, made, body), 400, "Invalid request body: ")
    refused(await start(api, made, RECIPE | {"steps": [{"type": "COPY", "filesHash": "../x"}]}), 400, "Invalid files hash")
    refused(await start(api, made, RECIPE | {"startCmd": "a\0b"}), 400, "null character")
    refused(await start(api, made, RECIPE | {"steps": [{"args": []}]}), 400, "validation error")
    refused(await start(api, made, RECIPE | {"fromImageRegistry": {"type": "other"}}), 400, "validation error")
    api.node.roles = [ServiceInfoRole.Orchestrator]

    async def no_builder() -> bool:
        return (await api.client.get(f"/templates/{made['templateID']}/files/{'a' * 64}")).status_code == 503

    await eventually(no_builder)
    refused(await start(api, made), 503, "Error when getting available build client")
    assert (await status(api, made))["status"] == "waiting"


async def test_a_node_that_refuses_fails_the_build(api: LiveApi) -> None:
    made = await request(api)
    api.builder.fail_with = UnavailableError("the queue is full")
    refused(await start(api, made), 500, "Error when starting template build: the queue is full")
    failed = await status(api, made)
    assert (failed["status"], failed["reason"]["message"]) == ("error", "error when building env: the queue is full")
    assert "step" not in failed["reason"]
    await until_said(api, made["buildID"])


async def test_a_newer_build_of_a_tag_ends_the_older(api: LiveApi) -> None:
    """§1.3.5, §1.4, §12.3.8; the template goes on being what it was (§1.15)."""
    ready = await build(api)
    waiting, running = await request(api, "mine:other"), await request(api)
    assert waiting["templateID"] == running["templateID"] == ready["templateID"]
    await started(api, running)
    newest = await request(api)
    assert (await status(api, running))["status"] == "building"
    await started(api, newest)
    await until_said(api, running["buildID"])
    superseded = await status(api, running)
    assert (superseded["status"], superseded["reason"]["message"]) == ("error", SUPERSEDED)
    assert (await status(api, waiting))["status"] == "waiting"
    assert (await create(api, templateID="mine"))["templateID"] == ready["templateID"]
    assert api.node.created[-1].sandbox.build_id == ready["buildID"]
    api.builder.builds[newest["buildID"]].complete()
    await until(api, newest, "ready")
    await create(api, templateID="mine")
    assert api.node.created[-1].sandbox.build_id == newest["buildID"]


async def test_a_restarted_api_goes_on_with_what_is_being_built(api: LiveApi) -> None:
    one, other = await request(api, "one"), await request(api, "other")
    for made in (one, other):
        await started(api, made)
    api.builder.builds[one["buildID"]].complete()
    del api.builder.builds[other["buildID"]]
    await api.restart()
    await until(api, one, "ready")
    lost = await until(api, other, "error")
    assert lost["reason"]["message"] == f"polling received unrecoverable error: build '{other['buildID']}' is not known"


async def test_builds_that_take_too_long(api: LiveApi) -> None:
    """§1.5."""
    waiting = await request(api, "waiting")
    await change_builds(api, created_at=utc_now() - timedelta(minutes=41))
    assert (await until(api, waiting, "error"))["reason"]["message"] == "build is in waiting state for too long"
    slow = await request(api, "slow")
    await started(api, slow)
    await change_builds(api, updated_at=utc_now() - timedelta(minutes=61))
    late = await until(api, slow, "error")
    assert late["reason"]["message"] == "build status polling timed out. Maximum build time is 1h0m0s."
    await until_said(api, slow["buildID"])


async def test_limits_of_a_team(api: LiveApi) -> None:
    """§1.3.2, §1.3.3."""
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Tier).values(concurrent_template_builds=1, max_vcpu=8, max_ram_mb=8192))
    await database.close()
    for body, message in (
        ({"cpuCount": 0}, "validation error"),
        ({"memoryMB": 32}, "validation error"),
        ({"cpuCount": 1024}, "CPU count must be at most 32"),
        ({"cpuCount": 3}, "CPU count must be 1 or an even number"),
        ({"memoryMB": 1001}, "Memory must be divisible by 2"),
    ):
        refused(await api.client.post("/v3/templates", json={"name": "x"} | body), 400, message)

    async def limited() -> bool:
        return "than 8 (if you need" in (await api.client.post("/v3/templates", json={"name": "x", "cpuCount": 16})).text

    await eventually(limited)
    support = "(if you need to increase this limit, please contact support)"
    refused(await api.client.post("/v3/templates", json={"name": "x", "cpuCount": 16}), 400, f"CPU count can't be higher than 8 {support}")
    huge = await api.client.post("/v3/templates", json={"name": "x", "memoryMB": 1048576})
    refused(huge, 400, f"Memory can't be higher than 8192 MiB {support}")
    await request(api, "x")
    response = await api.client.post("/v3/templates", json={"name": "y"})
    refused(response, 429, "you have reached the maximum number of concurrent template builds (1). Please wait for existing builds")
    assert response.headers["Should-Retry"] == "false"
    await request(api, "x")


async def test_names_that_are_none(api: LiveApi) -> None:
    for body, message in (
        ({}, "Name is required"),
        ({"name": "a b"}, "Invalid name: invalid template ID: a b"),
        ({"name": "a:"}, "Invalid name: invalid tag: "),
        ({"name": "theirs/a"}, "namespace 'theirs' must match your team 'local-dev-team'"),
        ({"name": "a", "tags": [str(uuid.uuid4())]}, "tag cannot be a UUID"),
        ({"name": "a", "tags": ["!"]}, "Invalid tag: invalid tag: !"),
        ({"name": "a" * 129}, "validation error"),
        ({"name": "a", "tags": ["a" * 129]}, "validation error"),
        ({"name": "a", "teamID": NOWHERE}, "Team ID param mismatch with the API key"),
    ):
        refused(await api.client.post("/v3/templates", json=body), 400, message)
    response = await api.client.post("/v2/templates", json={"alias": "older", "cpuCount": 4, "memoryMB": 512})
    assert response.status_code == 202
    assert (response.json()["aliases"], response.json()["public"]) == (["older"], False)
    assert "names" not in response.json()


async def test_the_oldest_clients_push_an_image(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§1.1.3: by access token alone; in progress as soon as it is triggered; lines as texts."""
    asked = {"dockerfile": "FROM x", "alias": "pushed", "startCmd": "run", "readyCmd": "ok", "cpuCount": 2, "memoryMB": 512}
    response = await by_user(api, "POST", "/templates", json=asked)
    assert response.status_code == 202, response.text
    made = response.json()
    assert (made["aliases"], made["cpuCount"], made["buildStatus"]) == (["pushed"], 0, "waiting")
    refused(await by_user(api, "POST", "/templates", json=asked), 403, "Alias 'pushed' already used")
    assert (await api.client.post("/templates", json=asked)).status_code == 401
    again = await by_user(api, "POST", f"/templates/{made['templateID']}", json={"dockerfile": ""})
    assert again.json()["templateID"] == made["templateID"]
    refused(await by_user(api, "POST", "/templates/absent", json=asked), 404, "Template 'absent' not found")
    theirs = await request(api, "theirs", stranger)
    refused(
        await by_user(api, "POST", f"/templates/{theirs['templateID']}", json=asked),
        403,
        f"You do not have access to the template '{theirs['templateID']}'",
    )
    made = again.json()
    assert (await by_user(api, "POST", path_of(made))).status_code == 202
    assert (await status(api, made))["status"] == "building"
    config = api.builder.builds[made["buildID"]].request
    assert (config.version, config.template.WhichOneof("source"), config.template.fromImage) == ("v1.0.0", "fromImage", "")
    assert config.template.force
    (text,) = (await status(api, made))["logs"]
    assert text.endswith(f"Z] Building template {made['templateID']}/{made['buildID']}\n")
    refused(await by_user(api, "POST", path_of(made)), 400, "build is not in waiting state")
    shown = await by_user(api, "GET", f"{path_of(made)}/status")
    assert shown.json()["status"] == "building"


async def test_who_may_look_at_a_build(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    made = await request(api)
    for kind in ("status", "logs"):
        path = f"{path_of(made)}/{kind}"
        refused(await stranger.get(path), 403, f"You don't have access to this sandbox template ({made['templateID']})")
        refused(await api.client.get(f"/templates/{made['templateID']}/builds/x/{kind}"), 400, "Invalid build id")
        for other in (f"{made['templateID']}/builds/{NOWHERE}", f"x/builds/{made['buildID']}"):
            refused(await api.client.get(f"/templates/{other}/{kind}"), 400, "not found")


async def test_archives_of_files_go_through_the_api(api: LiveApi, stranger: httpx.AsyncClient) -> None:
    """§1.2.6, rest-api §14.4: 201, a whole address, present once it is there; no credentials with the archive."""
    made = await request(api)
    path = f"/templates/{made['templateID']}/files/{'a' * 64}"
    offer = await api.client.get(path)
    assert offer.status_code == 201, offer.text
    assert (offer.json()["present"], offer.json()["url"].startswith(f"{api.url}/upload?path={TEAM_ID}")) == (False, True)
    url, content = offer.json()["url"], b"x" * 3_000_000
    async with httpx.AsyncClient(trust_env=False) as anybody:
        refused(await anybody.put(url.replace("f00d", "f00e"), content=b"x"), 403, "invalid or expired token")
        for bad in (f"{api.url}/upload", url.replace("expires=", "expires=x")):
            refused(await anybody.put(bad, content=b"x"), 400, "missing parameters")
        refused(await anybody.get(url), 405, "method not allowed")
        refused(await anybody.put(url.replace("node=node-1", "node=other"), content=b"x"), 503, "not known")
        put = await anybody.put(url, content=content)
        assert (put.status_code, put.content) == (200, b"")
    assert list(api.builder.files.values()) == [content]
    assert (await by_user(api, "GET", path)).json()["present"] is True
    refused(await api.client.get(f"/templates/{made['templateID']}/files/A{'a' * 63}"), 400, "Invalid files hash")
    for client, template_id in ((api.client, "absent"), (stranger, made["templateID"])):
        refused(await client.get(f"/templates/{template_id}/files/{'a' * 64}"), 404, "Error when getting template: ")
    named = {"Host": "api.example.com:3002", "X-Forwarded-Proto": "https"}
    assert (await api.client.get(path, headers=named)).json()["url"].startswith("https://api.example.com:3002/upload?")
    api.builder.fail_with = UnavailableError("no")
    refused(await api.client.get(path), 500, "Error when requesting layer files upload")


async def test_an_operator_cancels_all_builds_of_a_team(api: LiveApi) -> None:
    """rest-api §17."""
    one, other = await request(api, "one"), await request(api, "other")
    await started(api, one)
    path, operator = f"/admin/teams/{TEAM_ID}/builds/cancel", {"X-Admin-Token": "operator"}
    response = await api.client.post(path, headers=operator)
    assert response.json() == {"cancelledCount": 2, "failedCount": 0}
    for made in (one, other):
        assert (await status(api, made))["reason"]["message"] == "cancelled by admin"
    await until_said(api, one["buildID"])
    assert (await api.client.post(path, headers=operator)).json() == {"cancelledCount": 0, "failedCount": 0}


async def test_many_starts_of_one_build_are_one(api: LiveApi) -> None:
    made = await request(api)
    answers = await asyncio.gather(*(start(api, made) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 400, 400, 400, 400]
