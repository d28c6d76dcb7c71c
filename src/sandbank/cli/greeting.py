"""One sandbox from create to kill over the public interfaces, exactly as a client would: the proof that an installation works."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from sandbank.domain.errors import InternalError, SandbankError, UnavailableError

_AGENT_PORT = "49983"
_END_OF_STREAM = 0x02
_COMMAND = (
    '. /etc/os-release && echo "Hello! I am $(whoami) on $(hostname): $PRETTY_NAME, Linux $(uname -r), Python $(python3 -V | cut -c8-)."'
)


@dataclass(frozen=True)
class Greeting:
    """What the sandbox said, and the milliseconds until it was created and until its first command had ended."""

    text: str
    create_ms: float
    command_ms: float


def greet(api_url: str, sandbox_url: str, api_key: str) -> Greeting:
    """Create a sandbox, run one command in it, kill it. Blocks. Raises a domain error that says which step failed and how."""
    started = time.perf_counter()
    sandbox = _call(api_url, "POST", "/sandboxes", api_key, {"templateID": "base", "timeout": 60})
    create_ms = (time.perf_counter() - started) * 1000
    try:
        text = _run(sandbox_url, sandbox["sandboxID"], sandbox.get("envdAccessToken") or "")
        command_ms = (time.perf_counter() - started) * 1000
    finally:
        _call(api_url, "DELETE", f"/sandboxes/{sandbox['sandboxID']}", api_key)
    return Greeting(text, create_ms, command_ms)


def _call(api_url: str, method: str, path: str, api_key: str, body: object = None) -> Any:
    content = b"" if body is None else json.dumps(body).encode()
    response = _request(api_url, method, path, {"X-API-Key": api_key, "Content-Type": "application/json"}, content)
    answer = response.read()
    if response.status not in (200, 201, 204):
        raise InternalError(f"{method} {path} was answered with {response.status}: {answer.decode(errors='replace')[:500]}")
    return json.loads(answer) if answer else None


def _run(sandbox_url: str, sandbox_id: str, access_token: str) -> str:
    """The output of the command (contract data-plane §2: Connect, JSON codec, one enveloped request, a stream of enveloped events)."""
    start = {"process": {"cmd": "/bin/bash", "args": ["-l", "-c", _COMMAND]}, "stdin": False}
    payload = json.dumps(start).encode()
    headers = {
        "Content-Type": "application/connect+json",
        "Connect-Protocol-Version": "1",
        "Connect-Timeout-Ms": "30000",
        "Authorization": "Basic " + base64.b64encode(b"user:").decode(),
        "X-Access-Token": access_token,
        "E2b-Sandbox-Id": sandbox_id,
        "E2b-Sandbox-Port": _AGENT_PORT,
    }
    response = _request(sandbox_url, "POST", "/process.Process/Start", headers, struct.pack(">BI", 0, len(payload)) + payload)
    if response.status != 200:
        raise InternalError(f"the sandbox answered with {response.status}: {response.read().decode(errors='replace')[:500]}")
    output = b""
    for message in _messages(response):
        event = message.get("event", {})
        output += base64.b64decode(event.get("data", {}).get("stdout", ""))
        if "error" in message:
            raise InternalError(f"the first command failed: {message['error'].get('message')}")
        if "end" in event and event["end"].get("exitCode"):
            raise InternalError(f"the first command ended with {event['end'].get('status')}")
    return output.decode(errors="replace").strip()


def _messages(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    while True:
        head = response.read(5)
        if len(head) < 5:
            raise InternalError("the stream from the sandbox broke off")
        flags, length = struct.unpack(">BI", head)
        yield json.loads(response.read(length) or b"{}")
        if flags & _END_OF_STREAM:
            return


def _request(url: str, method: str, path: str, headers: dict[str, str], body: bytes) -> HTTPResponse:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse()
    except (OSError, HTTPException) as error:
        raise UnavailableError(f"{url} does not answer: {error}") from error


def explain(error: SandbankError) -> str:
    """The line for an operator whose installation is up but does not greet."""
    return f"the services are up, but the first sandbox failed: {error.message}"
