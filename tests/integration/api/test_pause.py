"""Pause, resume and connect over HTTP (rest-api contract §8.2–§8.8, §11)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from e2b import AsyncSandbox

from sandbank.domain.errors import ConflictError, UnavailableError
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_lifecycle import eventually
from tests.integration.api.test_python_sdk import options
from tests.integration.api.test_sandboxes import create, refused


async def pause(api: LiveApi, sandbox_id: str) -> None:
    response = await api.client.post(f"/sandboxes/{sandbox_id}/pause", json={})
    assert (response.status_code, response.content) == (204, b"")


async def detail(api: LiveApi, sandbox_id: str) -> dict[str, Any]:
    response = await api.client.get(f"/sandboxes/{sandbox_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def _states(api: LiveApi, query: str = "") -> list[tuple[str, str]]:
    response = await api.client.get(f"/v2/sandboxes{query}")
    return [(one["sandboxID"], one["state"]) for one in response.json()]


async def test_what_a_paused_sandbox_looks_like(api: LiveApi) -> None:
    """§8.2, sdk-latest §1.5."""
    created = await create(api, metadata={"a": "b"}, network={"allowOut": ["1.1.1.1"]})
    sandbox_id = created["sandboxID"]
    running = await detail(api, sandbox_id)
    assert "pauseMode" not in running
    await pause(api, sandbox_id)
    paused = await detail(api, sandbox_id)
    assert paused | {"endAt": "", "state": "", "domain": None} == running | {"endAt": "", "state": "", "domain": None, "pauseMode": "full"}
    assert (paused["state"], paused["domain"], paused["envdAccessToken"]) == ("paused", None, created["envdAccessToken"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(paused["endAt"])) < timedelta(minutes=1)
    (request,) = api.node.paused
    assert request.sandbox_id == sandbox_id
    assert await api.catalog.find(sandbox_id) is None


async def test_resuming_keeps_all_but_the_execution(api: LiveApi) -> None:
    created = await create(api, network={"allowPublicTraffic": False, "allowOut": ["1.1.1.1"]}, envVars={"X": "1"})
    sandbox_id = created["sandboxID"]
    await pause(api, sandbox_id)
    response = await api.client.post(f"/sandboxes/{sandbox_id}/resume")
    assert (response.status_code, response.json()) == (201, created)
    first, second = api.node.created
    assert (second.sandbox.snapshot, second.sandbox.build_id) == (True, api.node.paused[0].build_id)
    assert second.sandbox.execution_id != first.sandbox.execution_id
    assert second.sandbox.base_template_id == first.sandbox.template_id
    assert second.sandbox.network == first.sandbox.network
    assert dict(second.sandbox.env_vars) == {}
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/resume", json={}), 409, f"Sandbox {sandbox_id} is already running")
    assert (await detail(api, sandbox_id))["state"] == "running"


@pytest.mark.parametrize("version", ["", "/v2"])
async def test_connect_answers_201_after_a_pause_and_200_without(api: LiveApi, version: str) -> None:
    """§8.8: the bodies are the same."""
    created = await create(api)
    path = f"{version}/sandboxes/{created['sandboxID']}/connect"
    for _ in range(2):
        await pause(api, created["sandboxID"])
        for status in (201, 200):
            response = await api.client.post(path, json={"timeout": 60})
            assert (response.status_code, response.json()) == (status, created)
    refused(await api.client.post(path, json={"timeout": 72 * 3600}), 400, "Timeout cannot be greater than 24 hours")


async def test_twenty_clients_at_once_end_in_one_state(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    pauses = await asyncio.gather(*(api.client.post(f"/sandboxes/{sandbox_id}/pause") for _ in range(20)))
    assert {one.status_code for one in pauses} <= {204, 409}
    assert len(api.node.paused) == 1
    connects = await asyncio.gather(*(api.client.post(f"/v2/sandboxes/{sandbox_id}/connect") for _ in range(20)))
    assert Counter(one.status_code for one in connects) == {201: 1, 200: 19}
    assert len(api.node.created) == 2
    paths = ("pause", "connect")
    mixed = await asyncio.gather(
        *(api.client.post(f"/sandboxes/{sandbox_id}/{paths[n % 2]}", json={} if n % 2 == 0 else {"timeout": 60}) for n in range(20))
    )
    assert {one.status_code for one in mixed} <= {200, 201, 204, 409}, [one.text for one in mixed]
    state = "running" if sandbox_id in api.node.sandboxes else "paused"
    assert await _states(api) == [(sandbox_id, state)]


async def test_errors_are_the_contracts(api: LiveApi) -> None:
    """§8.6, §8.7."""
    sandbox_id = (await create(api))["sandboxID"]
    api.node.fail_pause_with = ConflictError("an io_uring is open")
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/pause"), 409, "an io_uring is open")
    api.node.fail_pause_with = UnavailableError("the disk is full")
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/pause"), 503, "the disk is full")
    assert (await detail(api, sandbox_id))["state"] == "running"
    assert await api.catalog.find(sandbox_id) is not None
    api.node.fail_pause_with = None
    await pause(api, sandbox_id)
    already = await api.client.post(f"/sandboxes/{sandbox_id}/pause")
    refused(already, 409, f"Error pausing sandbox - sandbox '{sandbox_id}' is already paused")
    for operation, sent in (("timeout", {"timeout": 10}), ("refreshes", {})):
        refused(await api.client.post(f"/sandboxes/{sandbox_id}/{operation}", json=sent), 404, "doesn't exist")
    refused(await api.client.put(f"/sandboxes/{sandbox_id}/network", json={}), 404, "doesn't exist")
    for operation in ("pause", "resume", "connect"):
        refused(await api.client.post(f"/sandboxes/not_an_id/{operation}", json={"timeout": 10}), 400, "Invalid sandbox ID")
        refused(await api.client.post(f"/sandboxes/iabsent/{operation}", json={"timeout": 10}), 404, "doesn't exist")


async def test_killing_a_paused_sandbox(api: LiveApi) -> None:
    """§8.3."""
    sandbox_id = (await create(api))["sandboxID"]
    await pause(api, sandbox_id)
    build_id = api.node.paused[0].build_id
    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    for attempt in (
        api.client.delete(f"/sandboxes/{sandbox_id}"),
        api.client.get(f"/sandboxes/{sandbox_id}"),
        api.client.post(f"/sandboxes/{sandbox_id}/resume"),
    ):
        refused(await attempt, 404, "doesn't exist")
    assert await _states(api) == []

    async def forgotten() -> bool:
        return api.node.deleted_snapshots == [build_id]

    await eventually(forgotten)


async def test_lists_show_both_states_in_one_order(api: LiveApi) -> None:
    """§8.5."""
    made = [(await create(api, metadata={"n": str(number % 2)}))["sandboxID"] for number in range(6)]
    for sandbox_id in made[1:5]:
        await pause(api, sandbox_id)
    expected = [(one, "paused" if one in made[1:5] else "running") for one in reversed(made)]
    assert await _states(api) == expected
    assert await _states(api, "?order=asc") == list(reversed(expected))
    assert await _states(api, "?state=paused") == expected[1:5]
    assert await _states(api, "?metadata=n%3D1") == [one for one in expected if made.index(one[0]) % 2]
    assert await _states(api, "?template=base&state=paused") == expected[1:5]
    assert [one["sandboxID"] for one in (await api.client.get("/sandboxes")).json()] == [made[5], made[0]]
    rows, token = [], ""
    while True:
        page = await api.client.get(f"/v2/sandboxes?limit=2{token}")
        assert page.headers["X-Total-Running"] == "2"
        rows += [(one["sandboxID"], one["state"]) for one in page.json()]
        if "X-Next-Token" not in page.headers:
            break
        token = f"&nextToken={page.headers['X-Next-Token']}"
    assert rows == expected


async def test_at_its_end_it_pauses_and_does_so_again(api: LiveApi) -> None:
    """§11."""
    sandbox_id = (await create(api, timeout=1, autoPause=True, autoResume={"enabled": True}))["sandboxID"]
    assert (await detail(api, sandbox_id))["lifecycle"] == {"autoResume": True, "onTimeout": "pause"}
    for times in (1, 2):

        async def paused(times: int = times) -> bool:
            return len(api.node.created) == times and (await detail(api, sandbox_id))["state"] == "paused"

        await eventually(paused)
        assert (await api.client.post(f"/v2/sandboxes/{sandbox_id}/connect", json={"timeout": 1})).status_code == 201
    assert (await detail(api, sandbox_id))["lifecycle"] == {"autoResume": True, "onTimeout": "pause"}
    assert api.node.deleted == []


async def test_a_paused_sandbox_survives_the_api(api: LiveApi) -> None:
    created = await create(api, autoPause=True)
    sandbox_id = created["sandboxID"]
    await pause(api, sandbox_id)
    before = await detail(api, sandbox_id)
    await api.restart()
    assert await detail(api, sandbox_id) == before
    response = await api.client.post(f"/v2/sandboxes/{sandbox_id}/connect")
    assert (response.status_code, response.json()) == (201, created)
    await api.restart()
    assert (await detail(api, sandbox_id))["lifecycle"]["onTimeout"] == "pause"
    assert (await detail(api, sandbox_id))["state"] == "running"


async def test_an_api_that_dies_while_a_node_saves_finds_the_save(api: LiveApi) -> None:
    """What the node has done is not lost, whatever became of the answer."""
    sandbox_id = (await create(api))["sandboxID"]
    api.node.pause_gate = asyncio.Event()
    pausing = asyncio.ensure_future(api.client.post(f"/sandboxes/{sandbox_id}/pause"))

    async def asked() -> bool:
        return await _states(api) == [(sandbox_id, "paused")]

    await eventually(asked)
    stopping = asyncio.ensure_future(api.restart())
    await asyncio.sleep(0.1)
    api.node.save(sandbox_id)  # as a node does that goes on although nobody waits
    await stopping
    await asyncio.gather(pausing, return_exceptions=True)
    assert await _states(api) == [(sandbox_id, "paused")]
    assert (await api.client.post(f"/v2/sandboxes/{sandbox_id}/connect")).status_code == 201


async def test_the_official_client_pauses_and_connects(api: LiveApi) -> None:
    sandbox = await AsyncSandbox.create(lifecycle={"on_timeout": "pause", "auto_resume": True}, **options(api))
    assert await sandbox.pause()
    assert not await sandbox.pause()
    assert (await sandbox.get_info()).state == "paused"
    paginator = AsyncSandbox.list(**options(api))
    assert [one.state for one in await paginator.next_items()] == ["paused"]
    again = await sandbox.connect(timeout=60)
    assert again.sandbox_id == sandbox.sandbox_id
    assert (await again.get_info()).state == "running"
    assert await again.pause()
    assert await again.kill()
    assert not await again.kill()
