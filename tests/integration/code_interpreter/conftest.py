"""One server for all tests here; each leaves the default contexts usable."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from tests.integration.code_interpreter.environment import Environment, prepared
from tests.integration.code_interpreter.server import Server, running

ACCESS_TOKEN = "the sandbox's own"
VARIABLES = {"FROM_SANDBOX": "yes, 'quoted' \"twice\" \\ and $HOME\nsecond line", "GREETING": "hello"}


class _Agent(http.server.BaseHTTPRequestHandler):
    """The sandbox's agent, as far as the server knows it; it refuses callers without the token."""

    def do_GET(self) -> None:
        allowed = self.path == "/envs" and self.headers.get("X-Access-Token") == ACCESS_TOKEN
        content = json.dumps(VARIABLES if allowed else {}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def environment() -> Environment:
    return prepared()


@pytest.fixture(scope="session")
def agent_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Agent) as agent:
        thread = threading.Thread(target=agent.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{agent.server_address[1]}/envs"
        agent.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def server(environment: Environment, agent_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(environment, tmp_path_factory.mktemp("interpreter"), agent_url) as server:
        yield server


@pytest.fixture(scope="session")
def context(server: Server) -> str:
    """A Python context besides the default one; a kernel of Python takes a second or three to start, so that tests share it."""
    return server.context()


@pytest.fixture
def fresh(server: Server) -> Iterator[str]:
    """A Python context that has not run a cell."""
    context = server.context()
    yield context
    server.remove(context)
