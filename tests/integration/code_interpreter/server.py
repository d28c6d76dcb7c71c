"""A running server and what a client says to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.integration.code_interpreter.environment import SOURCES, Environment
from tests.product.instance import wait_until

Event = dict[str, Any]


@dataclass
class Execution:
    """The events of a cell, complete."""

    events: list[Event] = field(default_factory=list)

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def stdout(self) -> str:
        return "".join(event["text"] for event in self.of_type("stdout"))

    @property
    def stderr(self) -> str:
        return "".join(event["text"] for event in self.of_type("stderr"))

    @property
    def error(self) -> Event | None:
        found = self.of_type("error")
        assert len(found) < 2, found
        return found[0] if found else None

    @property
    def results(self) -> list[Event]:
        return self.of_type("result")

    @property
    def text(self) -> str | None:
        return next((event["text"] for event in self.results if event["is_main_result"]), None)


@dataclass(frozen=True)
class Server:
    """`log` has what it said of itself; `home` is where contexts begin."""

    url: str
    home: Path
    log: Path
    pid: int

    def execute(self, code: str, *, timeout: float = 30.0, headers: dict[str, str] | None = None, **fields: Any) -> Execution:
        body = {"code": code, **fields}
        # No certificates are asked for here, and to read all that are trusted takes longer than a cell.
        with httpx.stream("POST", f"{self.url}/execute", json=body, timeout=timeout, headers=headers, verify=False) as response:
            assert response.status_code == 200, (response.status_code, response.read())
            execution = Execution([json.loads(line) for line in response.iter_lines()])
        assert execution.events.pop() == {"type": "end_of_execution"}
        return execution

    def context(self, **fields: str) -> str:
        answer = httpx.post(f"{self.url}/contexts", json=fields, timeout=30)
        assert answer.status_code == 200, answer.text
        identifier: str = answer.json()["id"]
        return identifier

    def remove(self, context: str) -> None:
        assert httpx.delete(f"{self.url}/contexts/{context}", timeout=30).json() is None

    def give_up(self, code: str, *, seconds: float, **fields: Any) -> None:
        """Leaves a cell before its end, as clients do whose time is over."""
        try:
            self.execute(code, timeout=seconds, **fields)
        except httpx.TimeoutException:
            return
        raise AssertionError("the cell ended")


@contextmanager
def running(environment: Environment, directory: Path, variables_url: str) -> Iterator[Server]:
    """Started as in the template, under its package's name."""
    home = directory / "home"
    home.mkdir()
    (directory / "sandbank_interpreter").symlink_to(SOURCES / "guest")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, log_file = f"http://127.0.0.1:{port}", directory / "server.log"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "E2B_", "VIRTUAL_ENV"))}
    variables |= {"PATH": f"{environment.node}:{variables['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", "INHERITED": "from the server"}
    command = [str(environment.python), "-m", "sandbank_interpreter", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--python", str(environment.python), "--home", str(home), "--envs-url", variables_url]
    with log_file.open("wb") as log, subprocess.Popen(command, cwd=directory, env=variables, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: _answers(url) or process.poll() is not None, "the server answers", seconds=60, every=0.1)
            assert process.poll() is None, log_file.read_text()
            yield Server(url, home, log_file, process.pid)
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        return False
