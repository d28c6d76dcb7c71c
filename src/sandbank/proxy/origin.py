"""An origin: one port of one execution of a sandbox, or one node. Owns every connection to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sandbank.proxy.load import Load
from sandbank.proxy.upstream import UpstreamConnection

# Requests that may be sent twice, as long as they carry no body.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS"})


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """How connections to a kind of origin are made and kept."""

    retry_pauses_seconds: tuple[float, ...]  # between dial attempts; there is one attempt more than pauses
    hot_requests_per_second: int  # below this rate each request gets a connection of its own; 0 keeps connections always
    idle_seconds: float  # how long an unused connection is kept: shorter than the shortest timeout that servers there have
    reuse_for_any_method: bool  # False: what may not be sent twice never meets a connection that its server may be closing
    max_idle: int
    max_requests: int  # on one connection, so that a server that takes one connection at a time is not taken for ever


# Programs people run: contract data-plane §7.6 wants a connection per request and five attempts at a port that is about to open.
# Connections are kept only under load. Common servers drop idle ones after 2 to 5 seconds.
SANDBOX_POLICY = OriginPolicy(
    retry_pauses_seconds=(0.1, 0.2, 0.3, 0.4),
    hot_requests_per_second=64,
    idle_seconds=1.5,
    reuse_for_any_method=False,
    max_idle=64,
    max_requests=10_000,
)
# Our own proxy on another node (contract data-plane §7.2): one attempt, idle shorter than its 620 seconds.
NODE_POLICY = OriginPolicy(
    retry_pauses_seconds=(),
    hot_requests_per_second=0,
    idle_seconds=610.0,
    reuse_for_any_method=True,
    max_idle=4096,
    max_requests=1_000_000_000,
)


class Waiter(Protocol):
    """A request that waits for a connection."""

    def origin_closed(self) -> None:
        """There will be none: the origin is no more."""
        ...


class Waiters:
    """The requests that wait for a connection to one origin; they count towards its load."""

    __slots__ = ("_load", "_waiting")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._waiting: set[Waiter] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, waiter: Waiter) -> None:
        """It begins to wait."""
        if waiter not in self._waiting:
            self._waiting.add(waiter)
            self._load.requests += 1

    def discard(self, waiter: Waiter) -> None:
        """It waits no more; idempotent."""
        if waiter in self._waiting:
            self._waiting.discard(waiter)
            self._load.requests -= 1

    def dismiss(self) -> None:
        """Tell all of them that there will be no connection."""
        for waiter in tuple(self._waiting):
            self.discard(waiter)
            waiter.origin_closed()


class Origin:
    """Connections to one destination. Once cut it never connects again, so a recycled address gets nobody else's traffic.

    `speaks_tls` for a service that is to be talked to in TLS, whatever certificate it has, unless it must be one for `server_name`.
    Origins that share a `load` are counted together.
    """

    def __init__(
        self,
        dial: Callable[[], socket.socket],
        policy: OriginPolicy,
        *,
        speaks_tls: bool = False,
        server_name: str | None = None,
        load: Load | None = None,
    ) -> None:
        self.dial = dial
        self.policy = policy
        self.speaks_tls = speaks_tls
        self.server_name = server_name
        self.load = load or Load()
        self.closed = False
        self.waiting = Waiters(self.load)
        self._connections: set[UpstreamConnection] = set()
        self._idle: list[UpstreamConnection] = []
        self._requests = 0
        self._hot = policy.hot_requests_per_second == 0

    @property
    def keep_alive(self) -> bool:
        """Whether a connection should be kept after its request."""
        return self._hot

    def may_reuse(self, method: bytes, *, has_body: bool) -> bool:
        """Whether such a request may go out on a connection that was used before."""
        return self.policy.reuse_for_any_method or (not has_body and method in IDEMPOTENT)

    def count(self) -> None:
        """Note one more request."""
        self._requests += 1
        if self._requests >= self.policy.hot_requests_per_second:
            self._hot = True

    def take(self) -> UpstreamConnection | None:
        """An idle connection, if there is one that was not closed meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def offer(self, connection: UpstreamConnection, now: float) -> None:
        """Keep a connection whose last answer ended in order, or close it."""
        if self.closed or not self._hot or len(self._idle) >= self.policy.max_idle or connection.requests >= self.policy.max_requests:
            connection.close()
            return
        connection.idle_since = now
        self._idle.append(connection)

    def adopt(self, connection: UpstreamConnection) -> bool:
        """Own a new connection; False when the origin was cut while it was being made."""
        if self.closed:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: UpstreamConnection) -> None:
        """Disown a connection that is gone."""
        self._connections.discard(connection)

    def sweep(self, now: float) -> bool:
        """Once a second: close what idled too long; False when nothing is left that would be worth keeping this object for."""
        oldest = now - self.policy.idle_seconds
        keep = [connection for connection in self._idle if connection.idle_since > oldest and not connection.closed]
        for connection in self._idle:
            if connection.idle_since <= oldest:
                connection.close()
        self._idle = keep
        busy = self._requests > 0
        self._hot = self._requests >= self.policy.hot_requests_per_second
        self._requests = 0
        return busy or bool(self._connections) or bool(self.waiting)

    def cut(self) -> None:
        """End every connection hard, and tell those who wait for one."""
        self.closed = True
        self._idle.clear()
        self.waiting.dismiss()
        for connection in tuple(self._connections):
            connection.fail()
