"""Draining a node through port 3001 while official clients use it (contract data-plane §8.3, §9.3, §10.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from e2b import Sandbox

from tests.product.instance import SEEDED_API_KEY, Instance, wait_until
from tests.product.processes import kill_hard, service_pid

NODES = "/v1/service-discovery/nodes"


def operator(server: Instance) -> httpx.Client:
    """A client that has the installation's own secret."""
    secret = json.loads((server.data_dir / "secrets.json").read_text())["edge_secret"]
    return httpx.Client(base_url=f"http://127.0.0.1:{server.first_port + 1}", headers={"X-API-Key": secret}, timeout=20)


@pytest.fixture
def edge(server: Instance) -> Iterator[httpx.Client]:
    """Whatever the test does to the node, it takes sandboxes again afterwards."""
    with operator(server) as client:
        wait_until(lambda: len(client.get(NODES).json()) == 1, "the node is listed")
        yield client
        change(client, "undrain")
        wait_until(lambda: create(server).status_code == 201, "sandboxes can be created again")


def change(client: httpx.Client, action: str) -> None:
    node = client.get(NODES).json()[0]
    body = {"serviceInstanceID": node["serviceInstanceID"], "serviceType": "orchestrator"}
    assert client.post(f"{NODES}/{action}", json=body).status_code == 200


def create(server: Instance) -> httpx.Response:
    """A create without an SDK, for what it says on the wire; what comes of it lives for some seconds."""
    headers = {"X-API-Key": SEEDED_API_KEY}
    return httpx.post(f"{server.api_url}/v2/sandboxes", headers=headers, json={"templateID": "base", "timeout": 15}, timeout=60)


def refusal(server: Instance) -> dict[str, Any]:
    answer = create(server)
    assert answer.status_code == 503, answer.text
    body: dict[str, Any] = answer.json()
    assert body["code"] == 503
    return body


def test_the_node_is_listed_with_what_it_is(server: Instance, edge: httpx.Client) -> None:
    node = edge.get("/v1/service-discovery").json()["orchestrators"][0]
    assert (node["serviceStatus"], node["roles"], node["serviceHost"]) == ("healthy", ["template-builder", "orchestrator"], "127.0.0.1")
    info = httpx.get(f"http://127.0.0.1:{server.first_port + 1}/v1/info").json()
    assert info["serviceVersion"] == node["serviceVersion"]
    assert info["serviceStatus"] == "healthy"
    assert httpx.get(f"http://127.0.0.1:{server.first_port + 1}{NODES}").status_code == 401


@pytest.mark.parametrize("action", ["drain", "kill"])
def test_a_node_that_is_drained_takes_no_sandboxes_and_keeps_those_it_has(server: Instance, edge: httpx.Client, action: str) -> None:
    """§9.3: such nodes take no new sandboxes; existing ones keep being served."""
    with Sandbox.create(timeout=120) as sandbox:
        change(edge, action)
        assert edge.get(NODES).json()[0]["serviceStatus"] == {"drain": "draining", "kill": "unhealthy"}[action]
        # From the very next create on, whether the API has heard of it or not.
        at_once = refusal(server)
        assert "Failed to place sandbox" in at_once["message"]
        wait_until(lambda: refusal(server)["error_code"] == "sandbox_no_compatible_node", "the API offers the node no more")
        assert refusal(server)["message"] == "Failed to place sandbox: no node is ready to take it"
        assert sandbox.commands.run("echo here").stdout == "here\n"
        sandbox.set_timeout(60)
        assert Sandbox.connect(sandbox.sandbox_id).is_running()
        assert sandbox.sandbox_id in {item.sandbox_id for item in Sandbox.list().next_items()}
        # A balancer must not turn clients of these sandboxes away.
        assert httpx.get(f"{server.api_url}/health").status_code == 200
        assert edge.get("/health/traffic").status_code == 200
        change(edge, "undrain")
        assert edge.get(NODES).json()[0]["serviceStatus"] == "healthy"
        wait_until(lambda: create(server).status_code == 201, "creates work again")
        assert sandbox.kill() is True


def test_a_sandbox_can_end_while_its_node_drains(edge: httpx.Client, server: Instance) -> None:
    sandbox = Sandbox.create(timeout=120)
    change(edge, "drain")
    assert sandbox.kill() is True
    assert not sandbox.is_running()


def test_a_drained_node_takes_sandboxes_again_after_its_service_was_killed(server: Instance) -> None:
    """What `docs/reference/edge-api.md` says: the status ends with the orchestrator's process, sandboxes do not."""
    with operator(server) as client, Sandbox.create(timeout=120) as sandbox:
        wait_until(lambda: len(client.get(NODES).json()) == 1, "the node is listed")
        before = client.get(NODES).json()[0]["serviceInstanceID"]
        change(client, "drain")
        kill_hard(service_pid(server))
        server.up()
        wait_until(lambda: len(client.get(NODES).json()) == 1, "the node is listed again")
        node = client.get(NODES).json()[0]
        assert node["serviceInstanceID"] != before
        assert node["serviceStatus"] == "healthy"
        assert create(server).status_code == 201
        assert sandbox.commands.run("echo here").stdout == "here\n"
        assert client.post(f"{NODES}/{before}/drain").status_code == 404
        assert sandbox.kill() is True
