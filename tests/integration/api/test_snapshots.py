"""Snapshots that are templates, and forks, over HTTP and gRPC (rest-api contract §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from e2b import AsyncSandbox

from sandbank.domain.errors import ConflictError, InternalError, SandbankError, UnavailableError
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_lifecycle import eventually
from tests.integration.api.test_python_sdk import options
from tests.integration.api.test_sandboxes import create, refused


async def take(api: LiveApi, sandbox_id: str, **body: Any) -> dict[str, Any]:
    response = await api.client.post(f"/sandboxes/{sandbox_id}/snapshots", json=body)
    assert response.status_code == 201, response.text
    taken: dict[str, Any] = response.json()
    return taken


async def until(holds: Callable[[], bool]) -> None:
    async def check() -> bool:
        await asyncio.sleep(0)
        return holds()

    await eventually(check)


async def listed(api: LiveApi, **params: Any) -> list[str]:
    response = await api.client.get("/snapshots", params=params)
    assert response.status_code == 200, response.text
    return [one["snapshotID"] for one in response.json()]


async def forget(api: LiveApi, snapshot_id: str) -> httpx.Response:
    return await api.client.delete(f"/templates/{quote(snapshot_id, safe='')}")


async def test_a_sandbox_of_a_snapshot_starts_where_that_was_taken(api: LiveApi) -> None:
    """§9.1; its owner's own ID, tokens, variables and metadata."""
    parent = await create(api, metadata={"of": "parent"}, envVars={"X": "1"})
    taken = await take(api, parent["sandboxID"])
    template_id = taken["snapshotID"].removesuffix(":default")
    assert taken == {"snapshotID": f"{template_id}:default", "names": []}
    made = await create(api, templateID=taken["snapshotID"], metadata={"of": "child"}, envVars={"Y": "2"})
    assert (made["templateID"], made["envdVersion"]) == (template_id, parent["envdVersion"])
    assert made["sandboxID"] != parent["sandboxID"]
    assert made["envdAccessToken"] != parent["envdAccessToken"]
    config = api.node.created[-1].sandbox
    (save,) = api.node.paused
    assert (config.snapshot, config.build_id, config.base_template_id) == (True, save.build_id, template_id)
    assert (config.vcpu, config.ram_mb, config.total_disk_size_mb) == (2, 1024, 10240)
    assert (dict(config.metadata), dict(config.env_vars)) == ({"of": "child"}, {"Y": "2"})
    detail = (await api.client.get(f"/sandboxes/{parent['sandboxID']}")).json()
    assert detail["state"] == "running"


async def test_a_name_is_a_template_that_the_next_snapshot_is_a_build_of(api: LiveApi) -> None:
    """§9.1, §9.2: the tag points at the newest, others stay as they are."""
    first, second = (await create(api))["sandboxID"], (await create(api))["sandboxID"]
    taken = await take(api, first, name="Saved")
    name = taken["names"][0]
    slug = name.removesuffix("/saved")
    assert taken == {"snapshotID": f"{slug}/saved:default", "names": [f"{slug}/saved"]}
    old = await create(api, templateID="saved")
    again = await take(api, second, name=f"{slug}/saved")
    assert again == taken
    new = await create(api, templateID="saved")
    assert new["templateID"] == old["templateID"]
    assert [request.sandbox.build_id for request in api.node.created[-2:]] == [save.build_id for save in api.node.paused]
    assert (await take(api, first, name="saved:v1"))["snapshotID"] == f"{slug}/saved:v1"
    await create(api, templateID="saved")
    assert api.node.created[-1].sandbox.build_id == api.node.paused[1].build_id, "a tag of its own moves no other"
    assert await listed(api) == [f"{slug}/saved:v1"]
    assert await listed(api, name="saved:default") == [f"{slug}/saved:default"]
    assert await listed(api, name=f"{slug}/saved:v1", sandboxID=first) == [f"{slug}/saved:v1"]
    assert await listed(api, name=new["templateID"], sandboxID=second) == []
    for unknown in ("saved:v2", "nothing", "strangers/saved"):
        assert await listed(api, name=unknown) == []


async def test_snapshots_come_page_by_page_newest_first(api: LiveApi) -> None:
    """§9.2, templates contract §1.13."""
    sandbox_id = (await create(api))["sandboxID"]
    taken = [(await take(api, sandbox_id))["snapshotID"] for _ in range(3)]
    found, token = [], ""
    while True:
        response = await api.client.get("/snapshots", params={"limit": 2, **({"nextToken": token} if token else {})})
        found.append([one["snapshotID"] for one in response.json()])
        token = response.headers.get("X-Next-Token", "")
        if not token:
            break
    assert found == [[taken[2], taken[1]], [taken[0]]]
    for params, words in (
        ({"nextToken": "?"}, "Invalid next token"),
        ({"sandboxID": "i-2-3"}, "Invalid sandbox ID"),
        ({"name": "a b"}, "Invalid name"),
        ({"limit": "0"}, "limit"),
    ):
        refused(await api.client.get("/snapshots", params=params), 400, words)


async def test_a_deleted_snapshot_is_gone_here_and_from_its_node(api: LiveApi) -> None:
    """§9.3, §14.12."""
    parent = (await create(api))["sandboxID"]
    snapshot_id = (await take(api, parent, name="saved:v1"))["snapshotID"]
    await take(api, parent, name="saved:v2")
    made = (await create(api, templateID=snapshot_id))["sandboxID"]
    refused(await forget(api, snapshot_id), 400, "because there are running sandboxes using it")
    assert (await api.client.post(f"/sandboxes/{made}/pause", json={})).status_code == 204
    refused(await forget(api, snapshot_id), 400, "because there are paused sandboxes using it")
    await api.client.delete(f"/sandboxes/{made}")
    builds = {save.build_id for save in api.node.paused if save.sandbox_id == parent}
    assert (await forget(api, snapshot_id)).status_code == 204
    await until(lambda: builds <= set(api.node.deleted_snapshots))
    refused(await forget(api, snapshot_id), 404, "not found")
    refused(await api.client.post("/v2/sandboxes", json={"templateID": snapshot_id}), 404, "not found")
    assert await listed(api) == []
    assert (await take(api, parent, name="saved"))["snapshotID"].endswith("/saved:default"), "the name is free again"


async def test_what_is_no_reference_is_not_deleted(api: LiveApi) -> None:
    refused(await forget(api, "a b"), 400, "Invalid template ID")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "Invalid name: "),
        ("saved:a b", "Invalid name: invalid tag"),
        ("strangers/saved", "namespace 'strangers' must match your team"),
        ("saved:5f1c3a52-6f0e-4a38-9a3b-6a5a3f9d6a11", "Invalid name: invalid tag"),
    ],
)
async def test_bad_names_are_refused_before_anything_is_saved(api: LiveApi, name: str, words: str) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/snapshots", json={"name": name}), 400, words)
    assert api.node.checkpointing == []


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (ConflictError("a process uses io_uring"), 409, "a process uses io_uring"),
        (UnavailableError("the disk is full"), 503, "cannot be snapshotted right now because its node is busy, please retry"),
        (InternalError("criu broke"), 500, "Error creating snapshot template"),
    ],
)
async def test_a_snapshot_that_fails_costs_no_sandbox(api: LiveApi, failure: SandbankError, status: int, words: str) -> None:
    """Data-plane contract §9.2."""
    sandbox_id = (await create(api))["sandboxID"]
    api.node.fail_pause_with = failure
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/snapshots", json={}), status, words)
    assert (await api.client.get(f"/sandboxes/{sandbox_id}")).json()["state"] == "running"
    assert await listed(api) == []
    refused(await api.client.post("/sandboxes/iabsent/snapshots", json={}), 404, "doesn't exist")
    api.node.fail_pause_with = None
    await api.client.post(f"/sandboxes/{sandbox_id}/pause", json={})
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/snapshots", json={}), 404, "doesn't exist")


async def test_a_snapshot_at_a_time_and_everything_else_waits_for_it(api: LiveApi) -> None:
    """§8.0."""
    sandbox_id = (await create(api))["sandboxID"]
    api.node.pause_gate = asyncio.Event()
    taking = asyncio.create_task(take(api, sandbox_id))
    await until(lambda: bool(api.node.checkpointing))
    path = f"/sandboxes/{sandbox_id}"
    refused(await api.client.post(f"{path}/snapshots", json={}), 409, "cannot be snapshotted while in 'snapshotting' state")
    refused(await api.client.post(f"{path}/fork"), 409, "cannot be forked while in 'snapshotting' state")
    refused(await api.client.post(f"{path}/resume"), 409, "Sandbox snapshot is currently being created")
    assert (await api.client.get(path)).json()["state"] == "running"
    killing = asyncio.create_task(api.client.delete(path))
    api.node.pause_gate.set()
    await taking
    assert (await killing).status_code == 204


async def test_forks_go_on_from_one_save_that_is_let_go_of(api: LiveApi) -> None:
    """§9.4: each with its own answer."""
    parent = await create(api, network={"allowPublicTraffic": False}, autoPause=True, metadata={"of": "parent"})
    response = await api.client.post(f"/sandboxes/{parent['sandboxID']}/fork", json={"count": 3, "timeout": 60})
    assert response.status_code == 201, response.text
    forks = [one["sandbox"] for one in response.json()]
    configs = [request.sandbox for request in api.node.created[1:]]
    assert {fork["sandboxID"] for fork in forks} == {config.sandbox_id for config in configs}
    assert len({fork["trafficAccessToken"] for fork in [*forks, parent]}) == 4
    assert all(config.snapshot and config.auto_pause and dict(config.metadata) == {"of": "parent"} for config in configs)
    assert len({config.build_id for config in configs}) == 1
    await until(lambda: api.node.deleted_snapshots == [configs[0].build_id])
    assert await listed(api) == []
    api.node.fail_with = InternalError("no")
    failed = await api.client.post(f"/sandboxes/{parent['sandboxID']}/fork", json={})
    assert [(one["error"]["code"], "sandbox" in one) for one in failed.json()] == [(500, False)]
    await until(lambda: api.node.paused == [])
    refused(await api.client.post(f"/sandboxes/{parent['sandboxID']}/fork", json={"count": 101}), 400, "count")


async def test_the_python_client_takes_lists_uses_and_deletes_snapshots(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    snapshot = await AsyncSandbox.create_snapshot(sandbox_id, name="saved", **options(api))
    pages = AsyncSandbox.list_snapshots(sandbox_id=sandbox_id, **options(api))
    assert [one.snapshot_id for one in await pages.next_items()] == [snapshot.snapshot_id]
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **options(api)) is True
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **options(api)) is False
