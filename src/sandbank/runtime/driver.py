"""What an orchestrator asks of whatever runs its sandboxes. No word here says how: a microVM driver fits the same protocol."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sandbank.artifacts.exchange import Description, Exchange, Manifest


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """Where this node keeps things and which names and numbers it may use, so that two nodes can share one kernel.

    `instance` prefixes interface, cgroup and firewall names and is at most 6 characters of `[a-z0-9]`. `subnet` is the IPv4 range that
    slots take their link addresses from. Slot `i` owns the 65,536 host uids from `uid_base + 65536 * i`. `sandbox_disk_mib` is what all
    sandboxes together may write, fixed at the first start; None: most of what is free then, 0: sandboxes have no quotas.
    """

    data_dir: Path
    run_dir: Path
    instance: str = "sb"
    subnet: str = "10.211.0.0/16"
    uid_base: int = 100_000_000
    max_slots: int = 8192
    sandbox_disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use."""

    vcpu: int
    memory_mib: int
    disk_mib: int
    pids: int = 2048  # a node has 32,768 unless its operator allows more; memory of a GiB would not hold many more either


@dataclass(frozen=True, slots=True)
class AgentInit:
    """What the agent inside is told before it answers anybody (the body of envd's `/init`, contract data-plane §4.8)."""

    access_token: str | None
    env_vars: dict[str, str]
    default_user: str = "user"
    default_workdir: str | None = None


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """TLS to an egress proxy: the name that its certificate must have, None: the host's, and a CA (PEM) to trust instead of the node's."""

    server_name: str | None = None
    ca_cert: str | None = None


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """A SOCKS5 proxy (RFC 1928, 1929) that a sandbox's outbound TCP goes through."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ProxyTls | None = None


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What one sandbox may reach (contract data-plane §11.3): allow beats deny, what neither names is allowed.

    CIDRs are IPv4 or IPv6 networks as text; domains are lower case, `*.` before one means what is below it, `*` any. `transforms` are
    headers to set, by domain. Private ranges and the node itself are out of reach whatever is said here.
    """

    allowed_cidrs: tuple[str, ...] = ()
    denied_cidrs: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    proxy: EgressProxy | None = None
    transforms: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


OPEN = EgressPolicy()
CLOSED = EgressPolicy(denied_cidrs=("0.0.0.0/0",))


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A directory of the node's that outlives sandboxes, shown inside at the absolute `path`; its files are root-owned and unshifted."""

    directory: Path
    path: str


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One sandbox to be. `layers` are directories with root-owned, unshifted files, lowest first; none is ever written to.

    With a `snapshot_id` it goes on where that snapshot was taken: layers, memory and disk limits are the snapshot's. If it `boots`, or the
    snapshot has no memory, only the files are: its agent starts anew, with the variables and defaults that it was told before.
    """

    sandbox_id: str
    template_id: str
    execution_id: str
    layers: tuple[Path, ...]
    limits: Limits
    init: AgentInit
    egress: EgressPolicy = OPEN
    volumes: tuple[VolumeMount, ...] = ()
    hostname: str = "e2b.local"
    snapshot_id: str | None = None
    boots: bool = False


@dataclass(frozen=True, slots=True)
class SandboxStats:
    """A sample of what one sandbox uses, from its own accounting and not the host's."""

    cpu_seconds: float
    memory_bytes: int
    memory_cache_bytes: int
    memory_limit_bytes: int
    disk_bytes: int
    disk_limit_bytes: int
    pids: int


@dataclass(frozen=True, slots=True)
class StartReport:
    """What a driver found of its former self: sandboxes that still run, and leftovers that it removed."""

    adopted: tuple[str, ...] = ()
    reclaimed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class SandboxExit:
    """A sandbox that ended without having been asked to."""

    sandbox_id: str
    execution_id: str
    reason: str
    at: datetime


class SecretSource(Protocol):
    """Whoever knows what the placeholders in `EgressPolicy.transforms` stand for."""

    async def values(self, sandbox_id: str, references: Sequence[str]) -> Mapping[str, str]:
        """By reference (`sandbank.domain.header_placeholders`); what there is not is missing.

        `SandbankError` when nobody can be asked, or will not say.
        """
        ...


class Driver(Protocol):
    """Runs sandboxes. Every method raises `sandbank.domain.errors`, nothing else."""

    name: str

    async def start(self, on_exit: Callable[[SandboxExit], None]) -> StartReport:
        """Get ready: adopt sandboxes that outlived an earlier process, remove every other leftover, fill the pool."""
        ...

    async def create(self, spec: SandboxSpec) -> None:
        """Return once the agent inside has answered. Cancelled or failed: nothing is left behind."""
        ...

    async def make_spare(self, spec: SandboxSpec) -> bool:
        """Make a sandbox ahead that goes on from the memory of a snapshot, for whichever `create` wants one of that snapshot next.

        Nobody sees it before that, it uses no processor, and it gives way when memory is wanted. False where nothing can be made ahead;
        errors as `create`.
        """
        ...

    def count_spares(self, snapshot_id: str) -> int:
        """How many of them there are."""
        ...

    async def remove_spares(self, snapshot_id: str) -> None:
        """End them. Idempotent."""
        ...

    async def kill(self, sandbox_id: str) -> None:
        """End a sandbox and remove all of it. Idempotent; finishes although the caller is cancelled.

        It is unreachable at once, `dial` refuses from the first instant; the removal of files may go on in the background.
        """
        ...

    def dial(self, sandbox_id: str, port: int) -> socket.socket:
        """A non-blocking TCP socket inside the sandbox's network, connecting to its loopback at `port`; takes microseconds.

        `NotFoundError` when there is no such sandbox. Whether the port is open shows when the connect completes.
        """
        ...

    def listen(self, sandbox_id: str, port: int) -> socket.socket:
        """A non-blocking TCP socket that listens on `port` of the sandbox's loopback, for what is inside to reach the node by.

        `NotFoundError` when there is no such sandbox, `OSError` when the port is taken. The caller closes it when the sandbox ends.
        """
        ...

    async def set_egress(self, sandbox_id: str, policy: EgressPolicy) -> None:
        """Replace what a sandbox may reach: in force and remembered when it returns, as before when it raises.

        Connections that the new policy does not allow are broken off. `NotFoundError` when there is no such sandbox.
        """
        ...

    async def pause(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        """Write memory and files to disk as the snapshot of that name, and end the sandbox; on disk, whole, when it returns.

        Without `memory` the files alone, as they are at one moment: whoever goes on from them boots. Finishes although the caller is
        cancelled. `ConflictError` with the reason when the sandbox cannot be saved, `UnavailableError` when there is no room: it runs on as
        if nothing had been. `NotFoundError` when there is no such sandbox.
        """
        ...

    async def checkpoint(self, sandbox_id: str, snapshot_id: str, *, memory: bool = True) -> None:
        """As `pause`, but the sandbox stands still only while it is saved and runs on."""
        ...

    async def save_layer(self, sandbox_id: str, layer_id: str) -> tuple[Path, ...]:
        """Keep what the sandbox has written up to now as a layer of that name; the sandbox's layers with this one on top.

        Complete or absent, also when cancelled; it stands still meanwhile and runs on. One of that name stays as it is. `NotFoundError`
        when there is no such sandbox, `UnavailableError` when there is no room.
        """
        ...

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Whether a sandbox can be continued from it on this node."""
        ...

    def snapshot_names(self) -> list[str]:
        """Of all complete snapshots on this node."""
        ...

    async def describe_snapshot(self, snapshot_id: str) -> Description:
        """What another node needs to go on from it; `ConflictError` when there is none of that name."""
        ...

    async def place_snapshot(self, exchange: Exchange, manifest: Manifest) -> None:
        """Bring a stored snapshot to this node, with all it needs. Complete or absent, also when cancelled; errors as `Exchange`'s."""
        ...

    def has_memory(self, snapshot_id: str) -> bool:
        """Whether that snapshot has more than files."""
        ...

    async def remove_snapshot(self, snapshot_id: str) -> None:
        """Idempotent."""
        ...

    async def stats(self, sandbox_id: str) -> SandboxStats:
        """`NotFoundError` when there is no such sandbox."""
        ...

    async def close(self) -> None:
        """Let go of everything; sandboxes run on and are adopted by the next `start`."""
        ...
