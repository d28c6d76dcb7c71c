"""What can be set about a node's sandbox network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Every field has a default that suits a node with a few cores."""

    free_target: int = 32
    """Slots kept ready; the contract's reference keeps as many. Each costs some 100 KiB of kernel memory."""
    free_limit: int = 132
    """Slots; beyond this many ready ones a released one is destroyed. Target plus the reference's 100 recycled ones."""
    making_limit: int = 8
    """Slots made at the same time: the kernel serialises most of it, more only lengthens the queue."""
    hold_seconds: float = 1.0
    """How long a released slot rests, so that no late packet of the former tenant reaches the next one."""
    retry_seconds: float = 1.0
    """Pause after a failed refill."""
    resolver_address: str = "8.8.8.8"
    """The name server in every sandbox's /etc/resolv.conf (contract data-plane §11.3); only this one is answered by the node."""
    resolver_port: int = 1053
    """Port of the forwarder on the instance's own address; not 53, which a name server of the node may hold on every address."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """Where the node's own name servers are read from, again whenever it changes."""
    upstreams: tuple[tuple[str, int], ...] = ()
    """(address, port) of name servers to ask instead of those in `resolv_conf`."""
    resolver_timeout_seconds: float = 3.0
    """How long one upstream may take; a stub resolver gives up after 5 s, so that the second one still has its chance."""
    resolver_slot_limit: int = 128
    """Unanswered queries of one slot; further ones are dropped, which a stub resolver takes for loss."""
    resolver_total_limit: int = 2048
    """Unanswered queries of all slots; each holds one socket."""
    questions_per_second: int = 200
    """Packets that a slot may send to the resolver; further ones are dropped. Each costs the service as much as a small request."""
    questions_burst: int = 300
    egress_port: int = 1054
    """Port of the egress proxy on that address; a sandbox's connections are redirected there, and only then."""
    egress_slot_limit: int = 1024
    """Connections of one slot through the egress proxy; further ones are refused. Each holds two to five descriptors of the service, of
    which the proxy takes a quarter at most and one slot a quarter of that."""
    egress_total_limit: int = 16_384
    """Connections of all slots through it."""
    egress_sniff_seconds: float = 10.0
    """How long a client may take to say which name it wants; after that it counts as having said none."""
    pieces_per_second: int = 20_000
    """Requests, and chunks and lines of their bodies, of one slot that the proxy looks through: on port 80 where names count, and for
    header rules. Further ones wait. Each costs some 5 µs that all slots share."""
    pieces_burst: int = 20_000
    transformed_slot_limit: int = 128
    """Connections of one slot with header rules at the same time; further ones are reset. Each may hold a MiB of the service's memory."""
    transformed_total_limit: int = 2048
    """Such connections of all slots."""
    egress_dial_seconds: float = 15.0
    """For resolving a name, connecting and, where there is one, the SOCKS5 proxy's consent together."""
    egress_idle_seconds: float = 3600.0
    """A connection through the proxy on which nothing has moved for so long is closed."""
    connection_limit: int = 4096
    """Connections and flows of one slot. The node's table of all of them (`nf_conntrack_max`, 65,536 or more) is everybody's: full, it
    lets nobody connect to anything."""
    connections_per_second: int = 200
    """New ones of one slot: a closed connection keeps its place in that table for two minutes."""
    connections_burst: int = 2000
