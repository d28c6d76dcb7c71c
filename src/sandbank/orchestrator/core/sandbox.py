"""A sandbox on this node, and the order for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sandbank.runtime.driver import OPEN, EgressPolicy, Limits


@dataclass(frozen=True, slots=True)
class SandboxOrder:
    """What somebody wants to run. `config` is the wire's own description, kept to be handed back and opaque here.

    `disk_mib` is the size of the whole disk, the build's files included. `lifetime` counts from when the agent inside has answered.
    """

    sandbox_id: str
    execution_id: str
    team_id: str
    template_id: str
    build_id: str
    lifetime: timedelta
    vcpu: int
    memory_mib: int
    disk_mib: int
    config: bytes
    env_vars: dict[str, str] = field(default_factory=dict)
    access_token: str | None = None
    default_user: str | None = None
    default_workdir: str | None = None
    egress: EgressPolicy = OPEN
    traffic_token: str | None = None
    mask_host: str | None = None
    https_ports: frozenset[int] = frozenset()
    auto_pause: bool = False
    volumes: tuple[tuple[str, str], ...] = ()  # ID and the path inside
    resumes: bool = False  # it goes on where the snapshot of its build was taken
    boots: bool = False  # with the files of that snapshot alone


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox of this node, as remembered on disk; immutable, replaced as a whole. Times are aware UTC."""

    sandbox_id: str
    execution_id: str
    team_id: str
    started_at: datetime
    end_at: datetime
    vcpu: int
    memory_mib: int
    disk_mib: int
    traffic_token: str | None
    mask_host: str | None
    auto_pause: bool
    config: bytes
    https_ports: frozenset[int] = frozenset()


MIN_FREE_DISK_MIB = 512
"""What a sandbox may write at least, however large its template is next to the ordered disk: E2B's smallest tier."""


def limits_of(order: SandboxOrder, build_size_mib: int) -> Limits:
    """The order's limits; the build's files count towards the ordered disk."""
    free_mib = max(order.disk_mib - build_size_mib, MIN_FREE_DISK_MIB)
    return Limits(vcpu=order.vcpu, memory_mib=order.memory_mib, disk_mib=free_mib)


def running_from(order: SandboxOrder, started_at: datetime) -> RunningSandbox:
    """`order` as it is remembered once its agent has answered at `started_at`."""
    return RunningSandbox(
        sandbox_id=order.sandbox_id,
        execution_id=order.execution_id,
        team_id=order.team_id,
        started_at=started_at,
        end_at=started_at + order.lifetime,
        vcpu=order.vcpu,
        memory_mib=order.memory_mib,
        disk_mib=order.disk_mib,
        traffic_token=order.traffic_token,
        mask_host=order.mask_host,
        auto_pause=order.auto_pause,
        config=order.config,
        https_ports=order.https_ports,
    )
