"""What only a stack of several services can get wrong: a sandbox's whole life across them, and each service by its own port."""

from __future__ import annotations

import socket

import httpx
import pytest
from e2b import Sandbox, Template

from tests.product.instance import SEEDED_API_KEY, Instance, wait_until


def test_a_sandbox_from_create_to_kill(stack: Instance) -> None:
    sandbox = Sandbox.create(timeout=120, metadata={"of": "compose"})
    assert sandbox.commands.run("echo $((6*7)); id -un").stdout == "42\nuser\n"
    sandbox.files.write("kept.txt", "kept")
    server = sandbox.commands.run("python3 -m http.server 8000", background=True)
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8000"}
    wait_until(lambda: httpx.get(f"{stack.sandbox_url}/kept.txt", headers=headers).text == "kept", "the server in the sandbox answers")
    sandbox.pause()
    again = Sandbox.connect(sandbox.sandbox_id, timeout=120)
    assert again.files.read("kept.txt") == "kept"
    assert httpx.get(f"{stack.sandbox_url}/kept.txt", headers=headers).text == "kept"  # it was never started anew
    assert server.pid in {process.pid for process in again.commands.list()}
    assert sandbox.sandbox_id in {found.sandbox_id for found in Sandbox.list().next_items()}
    assert again.kill() is True
    assert httpx.get(f"{stack.sandbox_url}/", headers=headers).status_code == 502


def test_a_template_is_built_on_one_node_and_used_on_another(stack: Instance) -> None:
    template = Template().from_template("base").run_cmd("echo built > /home/user/by-the-builder")
    built = Template.build(template, alias="compose-built", cpu_count=1, memory_mb=512)
    assert built.template_id
    sandbox = Sandbox.create("compose-built", timeout=60)
    try:
        assert sandbox.files.read("/home/user/by-the-builder") == "built\n"
    finally:
        sandbox.kill()


def test_measurements_reach_clickhouse_and_come_back(stack: Instance) -> None:
    sandbox = Sandbox.create(timeout=120)
    try:
        wait_until(lambda: len(sandbox.get_metrics()) > 0, "there are metrics of the sandbox", seconds=60, every=1)
    finally:
        sandbox.kill()


@pytest.mark.parametrize(
    ("offset", "path", "status"),
    [(0, "/health", 200), (1, "/health", 200), (1, "/v1/service-discovery/nodes", 401), (2000, "/v2/", 401), (5123, "/ping", 200)],
    ids=["api", "edge", "edge-closed", "docker-reverse-proxy", "clickhouse"],
)
def test_ports_answer(stack: Instance, offset: int, path: str, status: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{stack.first_port + offset}{path}").status_code == status


@pytest.mark.parametrize(
    "offset", [2007, 2008, 2009, 2432, 3379], ids=["sandbox-proxy", "orchestrator", "template-manager", "postgres", "redis"]
)
def test_ports_listen(stack: Instance, offset: int) -> None:
    socket.create_connection(("127.0.0.1", stack.first_port + offset), timeout=5).close()


def test_well_known_credentials_do_not_work(stack: Instance) -> None:
    assert httpx.get(f"{stack.api_url}/sandboxes", headers={"X-API-Key": SEEDED_API_KEY}).status_code == 401
