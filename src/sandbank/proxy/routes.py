"""The sandboxes of this node that take traffic."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

from sandbank.domain.errors import InvalidError
from sandbank.proxy.load import Load
from sandbank.proxy.origin import SANDBOX_POLICY, Origin, OriginPolicy

_MASK = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:\[\]{}-]+")


@dataclass
class LocalRoute:
    """How to reach one execution of a sandbox.

    `dial` opens a non-blocking socket that connects to a port inside, and raises `OSError` or `NotFoundError`. `traffic_token`, when set,
    is asked of every request but the agent's. `mask_request_host` replaces the Host header; `${PORT}` in it stands for the port.
    `https_ports` are those whose service speaks TLS (contract sdk-latest §1.6).
    """

    sandbox_id: str
    execution_id: str
    dial: Callable[[int], socket.socket]
    traffic_token: str | None
    mask_request_host: str | None
    https_ports: frozenset[int] = frozenset()


class _Entry:
    __slots__ = ("load", "origins", "route")

    def __init__(self, route: LocalRoute) -> None:
        self.route = route
        self.load = Load()  # of this execution alone: what an earlier one left open does not count
        self.origins: dict[int, Origin] = {}


class RouteTable:
    """Routable sandboxes by ID, and every connection into them. Lives in one event loop.

    `max_connections` bounds the requests in progress of each sandbox; -1 for any number (contract data-plane §7.6).
    """

    def __init__(self, policy: OriginPolicy = SANDBOX_POLICY, *, max_connections: int = -1) -> None:
        self.max_connections = max_connections
        self._policy = policy
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, route: LocalRoute) -> None:
        """Take traffic for a sandbox from now on; an earlier execution of it is removed first.

        `InvalidError` when the mask is no host name: it is written into request heads.
        """
        if route.mask_request_host and _MASK.fullmatch(route.mask_request_host) is None:
            raise InvalidError("invalid host in maskRequestHost")
        self.remove(route.sandbox_id)
        self._entries[route.sandbox_id] = _Entry(route)

    def remove(self, sandbox_id: str) -> None:
        """Make a sandbox unroutable, then cut its connections hard; unknown ones are ignored.

        The order matters: a client whose connection is cut asks at once whether the sandbox still exists (contract data-plane §6.3).
        """
        entry = self._entries.pop(sandbox_id, None)
        if entry is not None:
            for origin in entry.origins.values():
                origin.cut()

    def find(self, sandbox_id: str) -> LocalRoute | None:
        """The route to a sandbox."""
        entry = self._entries.get(sandbox_id)
        return None if entry is None else entry.route

    def find_origin(self, sandbox_id: str, port: int) -> tuple[LocalRoute, Origin] | None:
        """The route to a sandbox and the connections to one of its ports."""
        entry = self._entries.get(sandbox_id)
        if entry is None:
            return None
        origin = entry.origins.get(port)
        if origin is None:
            dial = entry.route.dial
            speaks_tls = port in entry.route.https_ports
            origin = entry.origins[port] = Origin(lambda: dial(port), self._policy, speaks_tls=speaks_tls, load=entry.load)
        return entry.route, origin

    def sweep(self, now: float) -> None:
        """Once a second: close connections that idled too long, forget ports that nobody asks for."""
        for entry in self._entries.values():
            unused = [port for port, origin in entry.origins.items() if not origin.sweep(now)]
            for port in unused:
                del entry.origins[port]
