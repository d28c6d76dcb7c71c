"""Sandboxes over HTTP: shapes, order of checks, lists."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from e2b.api.client.models import Error, ListedSandbox, Sandbox, SandboxDetail

from sandbank.domain.errors import ExhaustedError, InternalError
from tests.integration.api.conftest import LiveApi


async def create(api: LiveApi, **body: Any) -> dict[str, Any]:
    response = await api.client.post("/v2/sandboxes", json={"templateID": "base", **body})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def refused(response: httpx.Response, status: int, message: str) -> None:
    """The universal error body, as the Python SDK's own model reads it."""
    assert response.status_code == status, response.text
    error = Error.from_dict(response.json())
    assert error.code == status
    assert message in error.message, error.message


async def test_life(api: LiveApi) -> None:
    created = await create(api, metadata={"a": "b"}, envVars={"X": "1"}, timeout=60)
    assert Sandbox.from_dict(created).envd_access_token
    sandbox_id = created["sandboxID"]
    assert (created["alias"], created["clientID"], created["domain"], created["trafficAccessToken"]) == ("base", "6532622b", None, None)
    entry = await api.catalog.find(sandbox_id)
    assert entry is not None
    assert (entry.orchestrator_id, entry.orchestrator_ip) == ("node-1", "127.0.0.1")
    sent = api.node.created[0].sandbox
    assert (sent.build_id, sent.vcpu, sent.ram_mb, dict(sent.env_vars)) == (api.build_id, 2, 1024, {"X": "1"})

    got = (await api.client.get(f"/sandboxes/{sandbox_id}-6532622b")).json()
    detail = SandboxDetail.from_dict(got)
    assert (detail.sandbox_id, detail.state, detail.cpu_count, detail.memory_mb) == (sandbox_id, "running", 2, 1024)
    assert got["envdAccessToken"] == created["envdAccessToken"]
    assert (got["metadata"], got["lifecycle"]) == ({"a": "b"}, {"autoResume": False, "onTimeout": "kill"})

    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    assert api.node.deleted == [(sandbox_id, "request")]
    assert await api.catalog.find(sandbox_id) is None
    for response in (await api.client.delete(f"/sandboxes/{sandbox_id}"), await api.client.get(f"/sandboxes/{sandbox_id}")):
        refused(response, 404, f"Sandbox \"{sandbox_id}\" doesn't exist or you don't have access to it")


async def test_v1_is_secured_only_when_asked(api: LiveApi) -> None:
    plain = await api.client.post("/sandboxes", json={"templateID": "base"})
    secure = await api.client.post("/sandboxes", json={"templateID": "base", "secure": True})
    assert "envdAccessToken" not in plain.json()
    assert secure.json()["envdAccessToken"]
    request = api.node.created[0]
    assert request.end_time.seconds - request.start_time.seconds == 15


async def test_a_body_in_chunks(api: LiveApi) -> None:
    async def chunks() -> Any:
        for chunk in (b'{"templ', b'ateID":"base"', b',"unknown":{"x":[1]}}'):
            yield chunk

    response = await api.client.post("/v2/sandboxes", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"templateID":1}',
        b'{"templateID":"base","timeout":"300"}',
        b'{"templateID":"base","timeout":-1}',
        b'{"templateID":"base","timeout":3000000000}',
        b'{"templateID":"base","metadata":{"a":1}}',
        b'{"templateID":"base","autoResume":{}}',
        b'{"templateID":"base","network":{"allowOut":"1.1.1.1"}}',
        b'{"templateID":"\xff"}',
    ],
)
async def test_bodies_of_the_wrong_shape(api: LiveApi, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(await api.client.post("/v2/sandboxes", content=body, headers=headers), 400, "validation error: ")
    # Strangers are not told what is wrong with their body.
    stranger = await api.client.post("/v2/sandboxes", content=body, headers=headers | {"X-API-Key": "e2b_00"})
    refused(stranger, 401, "Invalid API key")


async def test_bodies_of_the_wrong_kind_and_size(api: LiveApi) -> None:
    refused(await api.client.post("/v2/sandboxes", content=b"templateID=base"), 400, "validation error: ")
    large = await api.client.post("/v2/sandboxes", json={"templateID": "base", "metadata": {"a": "x" * (16 * 1024 * 1024)}})
    refused(large, 413, "request body is larger")


async def test_semantic_errors(api: LiveApi) -> None:
    for body, status, message in (
        ({"templateID": "absent"}, 404, "template 'absent' not found"),
        ({"templateID": "base:v9"}, 404, "tag 'v9' does not exist for template 'base'"),
        ({"templateID": "base", "timeout": 0}, 400, "Timeout must be greater than 0"),
        ({"templateID": "base", "timeout": 86401}, 400, "Timeout cannot be greater than 24 hours"),
        ({"templateID": "base", "autoPauseMemory": False}, 400, "autoPauseMemory=false only applies when autoPause is true."),
        (
            {"templateID": "base", "autoPause": True, "autoPauseMemory": False, "autoResume": {"enabled": True}},
            400,
            "autoPauseMemory=false (filesystem-only auto-pause) cannot be combined with autoResume",
        ),
        ({"templateID": "base", "network": {"denyOut": ["example.com"]}}, 400, "invalid denied CIDR example.com"),
    ):
        refused(await api.client.post("/v2/sandboxes", json=body), status, message)
    assert api.node.created == []


async def test_network_options_reach_the_node_and_are_echoed(api: LiveApi) -> None:
    network = {"allowPublicTraffic": False, "maskRequestHost": "localhost:${PORT}", "httpsPorts": [8443, 3000]}
    created = await create(api, network=network, allow_internet_access=False)
    sent = api.node.created[0].sandbox
    assert sent.network.ingress.traffic_access_token == created["trafficAccessToken"] != ""
    assert sent.network.ingress.mask_request_host == "localhost:${PORT}"
    assert sorted(sent.network.ingress.https_ports) == [3000, 8443]
    assert list(sent.network.egress.denied_cidrs) == ["0.0.0.0/0"]
    got = (await api.client.get(f"/sandboxes/{created['sandboxID']}")).json()
    assert (got["network"], got["allowInternetAccess"]) == (network, False)


async def test_node_failures_are_not_sent_again(api: LiveApi) -> None:
    api.node.fail_with = InternalError("disk on fire")
    response = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    refused(response, 500, "Failed to place sandbox: disk on fire")
    assert response.json()["error_code"] == "sandbox_create_failed"
    assert response.headers["Should-Retry"] == "false"
    api.node.fail_with = None
    assert (await api.client.get("/sandboxes")).json() == []
    await create(api)


async def test_a_full_node_makes_creates_wait(api: LiveApi) -> None:
    api.node.fail_with = ExhaustedError("too many sandboxes starting on this node, please retry")
    creating = asyncio.ensure_future(create(api))
    while len(api.node.created) < 3:
        await asyncio.sleep(0.01)
    api.node.fail_with = None
    assert (await creating)["sandboxID"] in api.node.sandboxes


async def test_an_idempotency_key_makes_one_sandbox(api: LiveApi) -> None:
    async def send(key: str, **body: Any) -> httpx.Response:
        return await api.client.post("/v2/sandboxes", json={"templateID": "base", **body}, headers={"Idempotency-Key": key})

    first, again, other = await send("k-1"), await send("k-1"), await send("k-2")
    assert first.json() == again.json() != other.json()
    assert (first.status_code, again.status_code, len(api.node.sandboxes)) == (201, 201, 2)
    mismatch = await send("k-1", timeout=5)
    refused(mismatch, 422, "different request")
    assert mismatch.json()["error_code"] == "idempotency_request_mismatch"
    refused(await send("Not A Key"), 400, "validation error")

    api.node.create_gate = asyncio.Event()
    slow = asyncio.ensure_future(send("k-3"))
    while len(api.node.created) < 3:
        await asyncio.sleep(0.01)
    early = await send("k-3")
    refused(early, 409, "in progress")
    assert early.json()["error_code"] == "idempotency_in_progress"
    api.node.create_gate.set()
    assert (await slow).status_code == 201


async def test_lists(api: LiveApi) -> None:
    made = [await create(api, metadata={"n": str(number), "odd": "ja nein" if number % 2 else "/&="}) for number in range(5)]
    ids = [sandbox["sandboxID"] for sandbox in made]
    first = await api.client.get("/v2/sandboxes", params={"limit": 2})
    assert first.headers["X-Total-Running"] == "5"
    assert [ListedSandbox.from_dict(row).sandbox_id for row in first.json()] == ids[:2:-1]
    assert all("envdAccessToken" not in row for row in first.json())
    second = await api.client.get("/v2/sandboxes", params={"limit": 3, "nextToken": first.headers["X-Next-Token"]})
    assert [row["sandboxID"] for row in second.json()] == ids[2::-1]
    assert "X-Next-Token" not in second.headers

    ascending = await api.client.get("/v2/sandboxes", params={"order": "asc", "state": "running,paused"})
    assert [row["sandboxID"] for row in ascending.json()] == ids
    paused = await api.client.get("/v2/sandboxes", params={"state": "paused"})
    assert (paused.json(), "X-Total-Running" in paused.headers) == ([], False)

    encoded = quote(f"{quote('odd')}={quote('/&=', safe='')}&n=2")
    assert [row["sandboxID"] for row in (await api.client.get("/v2/sandboxes", params={"metadata": encoded})).json()] == [ids[2]]
    v1 = await api.client.get("/sandboxes", params={"metadata": quote(f"odd={quote('ja nein')}")})
    assert [row["sandboxID"] for row in v1.json()] == [ids[3], ids[1]]

    started = (await api.client.get(f"/sandboxes/{ids[3]}")).json()["startedAt"]
    late = await api.client.get("/v2/sandboxes", params={"startedAfter": started})
    assert [row["sandboxID"] for row in late.json()] == [ids[4], ids[3]]
    for template, count in (("base", 5), (made[0]["templateID"], 5), ("absent", 0)):
        rows = await api.client.get("/v2/sandboxes", params={"template": template})
        assert (len(rows.json()), rows.headers["X-Total-Running"]) == (count, str(count))


async def test_list_parameters_of_the_wrong_shape(api: LiveApi) -> None:
    for params, message in (
        ({"limit": "0"}, "validation error: "),
        ({"limit": "101"}, "validation error: "),
        ({"limit": "x"}, "validation error: "),
        ({"order": "up"}, "validation error: "),
        ({"state": "running,dead"}, "validation error: "),
        ({"startedAfter": "yesterday"}, "validation error: "),
        ({"nextToken": "nonsense"}, "Invalid next token"),
        ({"metadata": ""}, "Error parsing metadata"),
        ({"template": "base:v1"}, "Invalid template: tags are not supported here"),
    ):
        refused(await api.client.get("/v2/sandboxes", params=params), 400, message)
        refused(await api.client.get("/v2/sandboxes", params=params, headers={"X-API-Key": "x"}), 401, "Invalid API key format")


async def test_unknown_routes(api: LiveApi) -> None:
    refused(await api.client.get("/nothing"), 404, "validation error: no matching operation was found")
    refused(await api.client.patch("/sandboxes"), 404, "validation error: no matching operation was found")
    refused(await api.client.get("/envs/x"), 404, "Endpoints are deprecated")
    refused(await api.client.get("/sandboxes/ixyz/"), 404, "no matching operation")
    refused(await api.client.get("/sandboxes/i%2Fx"), 400, "Invalid sandbox ID")
    refused(await api.client.get("/sandboxes/ixyz/nothing"), 404, "no matching operation")
    upload = await api.client.post("/templates/x", files={"f": b""})
    refused(upload, 404, "Endpoint deprecated please update your CLI")


async def test_cors(api: LiveApi) -> None:
    preflight = await api.client.options(
        "/v2/sandboxes",
        headers={"Origin": "https://example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"},
    )
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, "*")
    listed = await api.client.get("/v2/sandboxes", headers={"Origin": "https://example.com"})
    assert "X-Next-Token" in listed.headers["Access-Control-Expose-Headers"]
