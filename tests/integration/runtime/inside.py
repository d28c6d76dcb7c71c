"""Running commands inside a sandbox, by its agent, over the driver's own dial."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import struct
from dataclasses import dataclass

from sandbank.runtime.driver import Driver

_AGENT_PORT = 49983
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command left: its output, both streams in one, and how it ended."""

    output: str
    status: str


async def run(driver: Driver, sandbox_id: str, command: str, user: str = "user", token: str = "") -> Result:
    """Run `command` by the shell as `user` and wait for its end."""
    return await asyncio.to_thread(_run, driver, sandbox_id, command, user, token)


def _run(driver: Driver, sandbox_id: str, command: str, user: str, token: str) -> Result:
    connection = http.client.HTTPConnection("sandbox", timeout=_DEADLINE_SECONDS)
    connection.sock = driver.dial(sandbox_id, _AGENT_PORT)
    connection.sock.settimeout(_DEADLINE_SECONDS)
    message = json.dumps({"process": {"cmd": "/bin/sh", "args": ["-c", command]}}).encode()
    headers = {
        "content-type": "application/connect+json",
        "connect-protocol-version": "1",
        "authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode(),
        "x-access-token": token,
    }
    try:
        connection.request("POST", "/process.Process/Start", struct.pack(">BI", 0, len(message)) + message, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, body
    output, status = b"", "no end was reported"
    while body:
        _flags, length = struct.unpack(">BI", body[:5])
        frame, body = json.loads(body[5 : 5 + length]), body[5 + length :]
        assert "error" not in frame, frame
        event = frame.get("event", {})
        for text in event.get("data", {}).values():
            output += base64.b64decode(text)
        status = event.get("end", {}).get("status", status)
    return Result(output.decode(errors="replace"), status)
