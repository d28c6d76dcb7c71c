"""DNS, and the documented HTTP APIs of Kubernetes and Nomad as small servers of the tests' own speak them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbank.discovery.dns import DnsNodes
from sandbank.discovery.engines import KubernetesNodes, NomadNodes
from sandbank.domain.errors import UnavailableError

Answer = Callable[[str, dict[str, str], Any], tuple[int, Any]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, document = answer(parts.path, query, self.headers)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pod(address: str, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"name": f"node-{address}"}, "status": {"phase": phase, **({"podIP": address} if address else {})}}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("sandboxes")
    return tmp_path


async def test_pods_that_run_page_by_page_with_the_present_token(account: Path) -> None:
    asked: list[tuple[str, str, str]] = []

    def answer(path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        asked.append((path, query["labelSelector"], headers["Authorization"]))
        if "continue" not in query:
            return 200, {"metadata": {"continue": "more"}, "items": [pod("10.0.0.2"), pod("", "Pending"), pod("10.0.0.9", "Failed")]}
        assert query["continue"] == "more"
        return 200, {"metadata": {}, "items": [pod("fd00::1"), pod("10.0.0.1", "Pending")]}

    with serving(answer) as url:
        nodes = KubernetesNodes(url, "", "app=node", 5008, account)
        assert await nodes.list() == ["10.0.0.1:5008", "10.0.0.2:5008", "[fd00::1]:5008"]
        (account / "token").write_text("second")
        await nodes.list()
        await nodes.close()
    path = "/api/v1/namespaces/sandboxes/pods"
    assert asked == [(path, "app=node", "Bearer first")] * 2 + [(path, "app=node", "Bearer second")] * 2


async def test_instances_of_services_with_a_token() -> None:
    def answer(path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        assert (headers["X-Nomad-Token"], query) == ("t", {"namespace": "ns"})
        found = {
            "/v1/service/a": [{"ServiceName": "a", "Address": "10.0.0.1", "Port": 25008}, {"Address": "10.0.0.2", "Port": 21000}],
            "/v1/service/b": [],
        }
        return 200, found[path]

    with serving(answer) as url:
        nodes = NomadNodes(url, ["a", "b"], "t", "ns")
        assert await nodes.list() == ["10.0.0.1:25008", "10.0.0.2:21000"]
        await nodes.close()


@pytest.mark.parametrize(("status", "body"), [(403, b"{}"), (500, b""), (200, b"<html>")])
async def test_an_engine_that_does_not_answer_well_is_an_outage(account: Path, status: int, body: bytes) -> None:
    with serving(lambda path, query, headers: (status, body)) as url:
        for nodes in (KubernetesNodes(url, "ns", "app=node", 5008, account), NomadNodes(url, ["a"])):
            with pytest.raises(UnavailableError, match=r"Kubernetes|Nomad"):
                await nodes.list()
            await nodes.close()


async def test_an_engine_that_is_not_there_is_an_outage(account: Path) -> None:
    nodes = NomadNodes("http://127.0.0.1:9", ["a"])
    with pytest.raises(UnavailableError, match="Nomad cannot be asked"):
        await nodes.list()
    await nodes.close()


async def test_every_address_of_a_name_is_a_node() -> None:
    found = await DnsNodes("localhost", 5008).list()
    assert "127.0.0.1:5008" in found
    assert set(found) <= {"127.0.0.1:5008", "[::1]:5008"}
    with pytest.raises(UnavailableError, match=r"cannot be resolved|not resolved within"):
        await DnsNodes("nothing.of.that.name.invalid", 5008).list()
