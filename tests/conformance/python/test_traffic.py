"""Traffic to programs inside a sandbox: routing by host and by headers, streaming, WebSockets, and the errors of the proxy."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox
from websockets.sync.client import connect

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance, wait_until

PROGRAM = (Path(__file__).parents[1] / "guest" / "web_server.py").read_text()


@pytest.fixture(scope="module")
def web(sandbox: Sandbox, server: Instance) -> Sandbox:
    """A sandbox with a web server on all addresses (8000) and one on loopback only (8001)."""
    sandbox.files.write("/home/user/program.py", PROGRAM)
    for address, port in (("0.0.0.0", 8000), ("127.0.0.1", 8001)):
        sandbox.commands.run(f"python3 program.py {address} {port}", background=True, timeout=0)
        wait_until(lambda port=port: get(server, sandbox, port).status_code == 200, f"the web server on {port}")  # type: ignore[misc]
    return sandbox


def get(server: Instance, sandbox: Sandbox, port: int, path: str = "/", **headers: str) -> httpx.Response:
    """One GET, routed by the host name the SDK gives."""
    return httpx.get(server.sandbox_url + path, headers={"Host": sandbox.get_host(port), **headers}, timeout=20)


@pytest.mark.parametrize("port", [8000, 8001])
def test_by_host_name(web: Sandbox, server: Instance, port: int) -> None:
    answer = get(server, web, port, "/some/path?a=1&b=%20c")
    assert answer.status_code == 200
    assert answer.headers["X-From"] == "sandbox"
    assert answer.text == f"path=/some/path?a=1&b=%20c host={web.get_host(port)} xff=None custom=None"


@pytest.mark.parametrize("suffix", [".localhost", ".localhost:3002", "-6532622b.example.com"])
def test_other_shapes_of_host(web: Sandbox, server: Instance, suffix: str) -> None:
    answer = httpx.get(server.sandbox_url, headers={"Host": f"8000-{web.sandbox_id}{suffix}"})
    assert answer.status_code == 200


def test_by_headers(web: Sandbox, server: Instance) -> None:
    headers = {"E2b-Sandbox-Id": web.sandbox_id, "E2b-Sandbox-Port": "8000", "X-Custom": "kept", "X-Forwarded-For": "1.2.3.4"}
    answer = httpx.get(server.sandbox_url, headers=headers)
    host, port = server.proxy_address
    assert answer.text == f"path=/ host={host}:{port} xff=None custom=kept"
    only_one = httpx.get(server.sandbox_url, headers={"E2b-Sandbox-Id": web.sandbox_id})
    assert (only_one.status_code, only_one.text.strip()) == (400, "missing header")


def test_headers_are_ignored_when_the_host_says_where(web: Sandbox, server: Instance) -> None:
    answer = get(server, web, 8000, **{"E2b-Sandbox-Id": "i" + "0" * 19, "E2b-Sandbox-Port": "1"})
    assert answer.status_code == 200


@pytest.mark.parametrize(("host", "message"), [("nonsense.localhost", "Invalid host"), ("8000-BAD_ID.localhost", "Invalid sandbox ID")])
def test_hosts_that_mean_nothing(web: Sandbox, server: Instance, host: str, message: str) -> None:
    answer = httpx.get(server.sandbox_url, headers={"Host": host})
    assert (answer.status_code, answer.text.strip()) == (400, message)


def test_bodies_go_up_with_a_length_and_in_chunks(web: Sandbox, server: Instance) -> None:
    data = bytes(range(256)) * 16384
    expected = f"{hashlib.sha256(data).hexdigest()} {len(data)}"
    headers = {"Host": web.get_host(8000)}
    assert httpx.post(server.sandbox_url, content=data, headers=headers, timeout=30).text == expected
    pieces = (data[start : start + 65536] for start in range(0, len(data), 65536))
    assert httpx.post(server.sandbox_url, content=pieces, headers=headers, timeout=30).text == expected


def test_head_has_no_body_and_the_connection_goes_on(web: Sandbox, server: Instance) -> None:
    with httpx.Client(base_url=server.sandbox_url, headers={"Host": web.get_host(8000)}) as client:
        for _ in range(3):
            assert client.head("/").headers["Content-Length"] == "12345"
            assert client.get("/").status_code == 200


def test_one_connection_may_reach_several_sandboxes(web: Sandbox, make_sandbox: SandboxMaker, server: Instance) -> None:
    other = make_sandbox()
    with httpx.Client(base_url=server.sandbox_url) as client:
        assert client.get("/", headers={"Host": web.get_host(8000)}).status_code == 200
        assert client.get("/", headers={"Host": other.get_host(8000)}).status_code == 502
        assert client.get("/", headers={"Host": web.get_host(8001)}).status_code == 200


def test_responses_are_streamed(web: Sandbox, server: Instance) -> None:
    with httpx.stream("GET", server.sandbox_url + "/stream", headers={"Host": web.get_host(8000)}) as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == b"event 0event 1event 2"
    assert len(pieces) == 3, "the proxy gathered the pieces of a stream"


def test_response_that_breaks_off_breaks_off_for_the_client(web: Sandbox, server: Instance) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        get(server, web, 8000, "/cut")


def test_websocket_both_ways(web: Sandbox, server: Instance) -> None:
    host, port = server.proxy_address
    with socket.create_connection((host, port)) as raw, connect(f"ws://{web.get_host(8000)}/socket", sock=raw) as client:
        for message in ("hello", "x" * 60_000, b"\x00\xff binary"):
            client.send(message)
            assert client.recv(timeout=20) == message


def test_websocket_by_headers(web: Sandbox, server: Instance) -> None:
    headers = {"E2b-Sandbox-Id": web.sandbox_id, "E2b-Sandbox-Port": "8000"}
    host, port = server.proxy_address
    with connect(f"ws://{host}:{port}/", additional_headers=headers) as client:
        client.send("routed")
        assert client.recv(timeout=20) == "routed"


def test_closed_port(web: Sandbox, server: Instance) -> None:
    answer = get(server, web, 9999)
    assert answer.status_code == 502
    assert answer.json() == {
        "sandboxId": web.sandbox_id,
        "message": "The sandbox is running but port is not open",
        "port": 9999,
        "code": 502,
    }
    page = get(server, web, 9999, **{"User-Agent": "Mozilla/5.0", "Accept": "text/html"})
    assert page.status_code == 502
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<html")
    assert page.text.endswith("</html>")
    assert re.search(f"no service running on port.*9999|9999.*{web.sandbox_id}", page.text, re.DOTALL)


def test_missing_sandbox(server: Instance) -> None:
    missing = "i" + "0" * 19
    answer = httpx.get(server.sandbox_url, headers={"Host": f"3000-{missing}.localhost"})
    assert answer.status_code == 502
    assert answer.json() == {"sandboxId": missing, "message": "The sandbox was not found", "code": 502}
    page = httpx.get(server.sandbox_url, headers={"Host": f"3000-{missing}.localhost", "User-Agent": "Mozilla/5.0", "Accept": "text/html"})
    assert page.text.startswith("<html")
    assert "Sandbox Not Found" in page.text
    assert missing in page.text


def test_killed_sandbox_is_not_found_at_once_and_its_connections_are_cut(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/program.py", PROGRAM)
    sandbox.commands.run("python3 program.py 0.0.0.0 8000", background=True, timeout=0)
    wait_until(lambda: get(server, sandbox, 8000).status_code == 200, "the web server")
    host, port = server.proxy_address
    with socket.create_connection((host, port)) as raw:
        raw.settimeout(20)
        raw.sendall(f"GET /stream HTTP/1.1\r\nHost: {sandbox.get_host(8000)}\r\n\r\n".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        assert sandbox.kill() is True
        received = b""
        try:
            while piece := raw.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        assert not received.endswith(b"0\r\n\r\n"), "a killed stream looked like a complete one"
    answer = get(server, sandbox, 8000)
    assert (answer.status_code, answer.json()["message"]) == (502, "The sandbox was not found")


def test_slow_reader_does_not_hold_up_others(web: Sandbox, server: Instance) -> None:
    web.commands.run("head -c 50000000 /dev/zero > /home/user/large")
    host, port = server.proxy_address
    with socket.create_connection((host, port)) as slow:
        lines = ["GET /files?path=large HTTP/1.1", f"Host: {web.get_host(49983)}", f"X-Access-Token: {web._envd_access_token}", "", ""]
        slow.sendall("\r\n".join(lines).encode())
        assert slow.recv(1024).startswith(b"HTTP/1.1 200")
        failures: list[int] = []

        def ask() -> None:
            for _ in range(20):
                status = get(server, web, 8000).status_code
                if status != 200:
                    failures.append(status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert web.commands.run("echo responsive").stdout == "responsive\n"
