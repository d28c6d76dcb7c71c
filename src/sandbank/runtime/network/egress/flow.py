"""One TCP connection of a sandbox on its way out, and the place where something else than the proxy may take it over.

Who wants to look into flows (header transforms, TLS interception) implements `Handler` and is given to `EgressProxy(handler=…)`. For every
flow that the policy allows, before anything is dialled:

1. `handler.takes(flow)` decides at once and without side effects: False means "pass bytes", the proxy pumps them unread.
2. True means that `handler.handle(flow, client, open_upstream)` does everything from here. `client` is the sandbox's end: a non-blocking
   socket from which nothing has been read (the proxy only peeked), so that a TLS server can be put on it as on any accepted socket.
   `open_upstream()` returns another non-blocking socket, connected to where the flow may go: to `flow.name` resolved by the node, or by
   the SOCKS5 proxy of the policy, never to what the sandbox claims it resolved to. It may be called any number of times, also never.

`handle` owns every socket it opens; `client` is closed by the proxy when `handle` returns or raises. It is cancelled when the sandbox
ends, when a new policy does not allow the flow any more or transforms it differently, and when the proxy stops.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sandbank.runtime.driver import EgressPolicy

OpenUpstream = Callable[[], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class Flow:
    """What is known of it. `source` is the slot's address, checked by the kernel; `name` is what the client says that it wants: lower
    case, without a final dot, from TLS's SNI on port 443 and HTTP's Host on port 80, else None. `by_name`: dialled by that name and not
    by `address`, the one that the sandbox connected to.
    """

    source: str
    sandbox_id: str
    address: str
    port: int
    name: str | None
    by_name: bool
    policy: EgressPolicy


class Handler(Protocol):
    """Takes over some flows; see the module's text."""

    def takes(self, flow: Flow) -> bool: ...

    async def handle(self, flow: Flow, client: socket.socket, open_upstream: OpenUpstream) -> None:
        """`OSError` from `open_upstream` when nothing can be reached; raising it or returning resets the client."""
        ...
