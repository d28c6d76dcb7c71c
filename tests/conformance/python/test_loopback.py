"""Services that listen on loopback only are reachable through the proxy within a second or two (data-plane contract §5.5)."""

from __future__ import annotations

import time

import httpx
import pytest
from e2b import Sandbox

from tests.product.instance import Instance

SERVER = """
import http.server, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
Server((sys.argv[1], int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 8041), ("::1", 8061)])
def test_a_service_on_one_loopback_address(sandbox: Sandbox, server: Instance, address: str, port: int) -> None:
    sandbox.files.write("/tmp/loopback.py", SERVER)
    sandbox.files.write("/tmp/page/index.html", "on loopback")
    sandbox.commands.run(f"cd /tmp/page && exec python3 /tmp/loopback.py {address} {port}", background=True)
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port)}
    url = f"{sandbox.envd_api_url}/"
    deadline = time.monotonic() + 20
    while (answer := httpx.get(url, headers=headers)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert answer.text == "on loopback"
    assert f":{port} " in sandbox.commands.run("ss -tln || true").stdout
