"""The agent under test as a child process, and the least client that can talk to it."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbank.envd.state import RUN_DIRECTORY

ROOT = Path(__file__).resolve().parents[3]


class Agent:
    """A running agent on a loopback port."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def request(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def call(self, procedure: str, message: dict[str, Any], **headers: str) -> tuple[int, Any]:
        """A unary RPC in JSON; the service is told by the procedure's name."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, body = self.request("POST", f"/{procedure}", json.dumps(message), {"content-type": "application/json", **names})
        return status, json.loads(body)

    def stream(self, procedure: str, message: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
        """A whole server stream in JSON; the last element is the end-of-stream payload."""
        with self.open_stream(procedure, message, **headers) as stream:
            return list(stream)

    @contextmanager
    def open_stream(self, procedure: str, message: dict[str, Any], **headers: str) -> Iterator[Stream]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", f"/{procedure}", seal(message), {"content-type": "application/connect+json", **names})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield Stream(answer)
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


class Stream:
    """Envelopes as they arrive."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while head := self._answer.read(5):
            _, length = struct.unpack(">BI", head)
            yield json.loads(self._answer.read(length))

    def next(self) -> dict[str, Any]:
        return next(iter(self))


def seal(message: dict[str, Any], flags: int = 0) -> bytes:
    payload = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(payload)) + payload


def bash(script: str) -> dict[str, Any]:
    return {"process": {"cmd": "/bin/bash", "args": ["-c", script]}, "stdin": False}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def output(events: list[dict[str, Any]], stream: str = "stdout") -> bytes:
    pieces = [event["event"]["data"].get(stream, "") for event in events if "data" in event.get("event", {})]
    return b"".join(base64.b64decode(piece) for piece in pieces)


@contextmanager
def running_agent(**options: Any) -> Iterator[Agent]:
    """Start, hand over, stop by SIGTERM; anything on standard error is a defect."""
    foreign = RUN_DIRECTORY.exists()  # inside a sandbox it says who that is
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.envd.serve", json.dumps(options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line.strip().isdigit():
        process.kill()
        raise AssertionError(process.communicate()[1])
    try:
        yield Agent(process, int(line))
    finally:
        if process.poll() is None:
            process.terminate()
        errors = process.communicate(timeout=20)[1]
        if not foreign:
            shutil.rmtree(RUN_DIRECTORY, ignore_errors=True)
    assert errors == ""
