"""`sandbank health`: a service that is well, one that is not, and none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sandbank.cli.health import ServiceName, find_problem


@contextmanager
def answering(status: int, text: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORTS = {
    ServiceName.API: "SANDBANK_API_PORT",
    ServiceName.CLIENT_PROXY: "HEALTH_PORT",
    ServiceName.DOCKER_REVERSE_PROXY: "SANDBANK_DOCKER_REVERSE_PROXY_PORT",
}


@pytest.mark.parametrize("service", PORTS)
def test_one_that_is_well_and_one_that_says_why_not(monkeypatch: pytest.MonkeyPatch, service: ServiceName) -> None:
    with answering(200, b"ok") as port:
        monkeypatch.setenv(PORTS[service], str(port))
        assert find_problem(service) is None
    with answering(503, b"no node") as port:
        monkeypatch.setenv(PORTS[service], str(port))
        assert find_problem(service) == f"the {service} answers 503: no node"


@pytest.mark.parametrize(
    ("service", "variable"),
    [
        *PORTS.items(),
        (ServiceName.ORCHESTRATOR, "SANDBANK_ORCHESTRATOR_PORT"),
        (ServiceName.TEMPLATE_MANAGER, "SANDBANK_TEMPLATE_MANAGER_PORT"),
    ],
)
def test_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch, service: ServiceName, variable: str) -> None:
    monkeypatch.setenv(variable, str(free_port()))
    problem = find_problem(service)
    assert problem is not None
    assert str(service) in problem
