"""Bounds of a proxy server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """What one server grants its clients; none of them limits how long a request or its answer may take."""

    header_timeout_seconds: float = 10.0  # from a head's first byte to its last: clients that trickle must not hold connections
    idle_timeout_seconds: float = 620.0  # between requests: longer than the pools of load balancers and of the first hop (610 s)
    ping_idle_seconds: float = 30.0  # HTTP/2: without a word from the client, before it is asked whether it is there
    ping_timeout_seconds: float = 15.0  # for its answer; contract data-plane §7
    linger_seconds: float = 5.0  # how long a client may go on sending to a connection that we have ended
    discard_bytes: int = 256 * 1024  # of a request body that nobody reads any more, before its connection is given up
    buffer_bytes: int = 256 * 1024  # per direction and connection; the peer that sends is paused above it
    max_connections: int = 16384  # clients at a time
    dial_timeout_seconds: float = 30.0  # per attempt, for ports that neither accept nor refuse
