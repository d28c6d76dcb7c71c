"""The REST API by a client that costs as little as can be: one keep-alive connection of the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import time
from types import TracebackType
from typing import Any, Self

from tests.product.instance import SEEDED_API_KEY, Instance


class RestClient:
    """One connection to the API; not for several threads."""

    def __init__(self, instance: Instance) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", instance.first_port, timeout=120)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: object = None, *, expect: int) -> Any:
        """Sends a request and returns the parsed answer; any other status than the expected one is an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-API-KEY": SEEDED_API_KEY} | ({"Content-Type": "application/json"} if data is not None else {})
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != expect:
            raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
        return json.loads(text) if text else None

    def create(self, timeout_seconds: int = 600) -> tuple[str, float]:
        """Creates a sandbox; returns its id and the seconds to the answer, when its agent has answered once."""
        started = time.perf_counter()
        answer = self.request("POST", "/v2/sandboxes", {"templateID": "base", "timeout": timeout_seconds}, expect=201)
        return str(answer["sandboxID"]), time.perf_counter() - started

    def kill(self, sandbox_id: str) -> float:
        """Kills a sandbox; returns the seconds to the answer."""
        started = time.perf_counter()
        self.request("DELETE", f"/sandboxes/{sandbox_id}", expect=204)
        return time.perf_counter() - started

    def listed(self) -> float:
        """Lists the running sandboxes; returns the seconds to the answer."""
        started = time.perf_counter()
        self.request("GET", "/v2/sandboxes", expect=200)
        return time.perf_counter() - started
