"""What a sandbox's `network` object says about traffic to it: ports that speak TLS, private traffic, masked hosts (data-plane §7.6)."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox
from websockets.sync.client import connect

from tests.conformance.python.conftest import SandboxMaker
from tests.conformance.python.test_traffic import PROGRAM, get
from tests.integration.proxy.certificates import Authority
from tests.product.instance import Instance, wait_until


def _serve(sandbox: Sandbox, port: int, certificate: str = "") -> None:
    sandbox.files.write("/home/user/program.py", PROGRAM)
    sandbox.commands.run(f"python3 program.py 127.0.0.1 {port} {certificate}", background=True, timeout=0)


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    """A key and a certificate that nobody trusts."""
    Authority(tmp_path).server_context("nobody.example")
    return next(path for path in tmp_path.iterdir() if path.name != "ca.pem").read_text()


def test_https_ports_reach_services_that_speak_tls(make_sandbox: SandboxMaker, server: Instance, certificate: str) -> None:
    """sdk-latest §1.6: the proxy encrypts again without verifying; requests, streams and WebSockets; the object is echoed."""
    sandbox = make_sandbox(network={"https_ports": [8443]})
    network = sandbox.get_info().network
    assert network is not None
    assert network["https_ports"] == [8443]
    sandbox.files.write("/home/user/server.pem", certificate)
    _serve(sandbox, 8443, "server.pem")
    _serve(sandbox, 8000)
    wait_until(lambda: get(server, sandbox, 8443).status_code == 200, "the TLS server")
    assert get(server, sandbox, 8443, "/x").text == f"path=/x host={sandbox.get_host(8443)} xff=None custom=None"
    assert get(server, sandbox, 8443, "/stream").text == "event 0event 1event 2"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        get(server, sandbox, 8443, "/cut")
    with socket.create_connection(server.proxy_address) as raw, connect(f"ws://{sandbox.get_host(8443)}/socket", sock=raw) as client:
        for message in ("hello", "x" * 60_000):
            client.send(message)
            assert client.recv(timeout=20) == message
    wait_until(lambda: get(server, sandbox, 8000).status_code == 200, "the plain server beside it")


@pytest.mark.parametrize("port", [0, 49983, 65536])
def test_https_ports_that_cannot_be(server: Instance, port: int) -> None:
    """sdk-latest §1.6: 1 to 65535, and not the agent's."""
    with pytest.raises(Exception, match="httpsPorts"):
        Sandbox.create(network={"https_ports": [port]}, timeout=30)


def test_private_traffic_wants_the_token(make_sandbox: SandboxMaker, server: Instance) -> None:
    """§6.6, §7.6: 403 without the token and with a wrong one, 200 with it; the agent's port asks for its own."""
    sandbox = make_sandbox(network={"allow_public_traffic": False})
    _serve(sandbox, 8000)
    token = sandbox.traffic_access_token
    assert token
    wait_until(lambda: get(server, sandbox, 8000, **{"E2B-Traffic-Access-Token": token}).status_code == 200, "the web server")
    missing = get(server, sandbox, 8000)
    assert (missing.status_code, missing.json()["sandboxId"]) == (403, sandbox.sandbox_id)
    assert missing.json()["message"].endswith("Token header 'e2b-traffic-access-token' is missing")
    wrong = get(server, sandbox, 8000, **{"E2B-Traffic-Access-Token": token[:-1] + "x"})
    assert (wrong.status_code, wrong.json()["message"].endswith("is invalid")) == (403, True)
    page = get(server, sandbox, 8000, **{"User-Agent": "Mozilla/5.0"})
    assert "<title>Missing Traffic Access Token</title>" in page.text
    assert sandbox.commands.run("echo works").stdout == "works\n"


def test_a_masked_host_is_what_the_service_sees(make_sandbox: SandboxMaker, server: Instance) -> None:
    """§6.6, §7.6: `${PORT}` stands for the port; the agent is not masked."""
    sandbox = make_sandbox(network={"mask_request_host": "custom-host.example.com:${PORT}"})
    _serve(sandbox, 8000)
    wait_until(lambda: get(server, sandbox, 8000).status_code == 200, "the web server")
    assert "host=custom-host.example.com:8000 " in get(server, sandbox, 8000).text
    assert sandbox.is_running()


def test_control_routes_of_the_agent_are_not_there(make_sandbox: SandboxMaker, server: Instance) -> None:
    """§7.7: for any method and spelling, whatever the credentials."""
    sandbox = make_sandbox()
    headers = {"Host": sandbox.get_host(49983), "X-Access-Token": str(sandbox._envd_access_token)}
    for route in ("collapse", "freeze", "fsfreeze", "fsthaw", "init", "unfreeze", "upgrade"):
        for method, path in (("POST", f"/{route}"), ("GET", f"//{route}"), ("PUT", f"/./{route}/")):
            answer = httpx.request(method, server.sandbox_url + path, headers=headers)
            assert (answer.status_code, answer.json()["path"]) == (404, f"/{route}")
    assert sandbox.is_running()
