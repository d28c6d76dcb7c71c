"""What it takes to start a sandbox, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbank.api.core.egress import NO_WISH, EgressWish
from sandbank.api.core.template import Template
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.volume import VolumeMount


@dataclass(frozen=True, slots=True)
class SandboxStart:
    """What a node is told about a sandbox that is to run: a new one, or one that goes on from a save, which `snapshot_env_id` tells."""

    sandbox_id: str
    team_id: str
    template: Template
    timeout_seconds: int
    max_length_hours: int
    metadata: Mapping[str, str]
    env_vars: Mapping[str, str]
    envd_access_token: str | None
    traffic_access_token: str | None
    mask_request_host: str | None
    allow_internet_access: bool | None
    network: Mapping[str, Any] | None
    https_ports: tuple[int, ...] = ()
    egress: EgressWish = NO_WISH
    volume_mounts: tuple[VolumeMount, ...] = ()
    iam_tokens: Mapping[str, str] = field(default_factory=dict)  # audiences by name
    node_id: str | None = None  # the only node that will do
    origin_node_id: str | None = None  # the node that has its files for certain
    auto_pause: bool = False
    auto_pause_memory: bool = True
    auto_resume: bool = False
    created_timeout_seconds: int | None = None  # of one that was paused: what its creation asked for
    snapshot_env_id: str | None = None  # then the template's build is the snapshot's
    boots: bool = False  # whatever memory that has

    @property
    def requested_timeout_seconds(self) -> int:
        """What the creation asked for."""
        return self.timeout_seconds if self.created_timeout_seconds is None else self.created_timeout_seconds


@dataclass(frozen=True, slots=True)
class Started:
    """A node's answer: the times by its clock, which are those that survive a restart of ours."""

    started_at: datetime
    end_at: datetime


def record(start: SandboxStart, started: Started, node_id: str, execution_id: str) -> Sandbox:
    """The record of a sandbox that has started."""
    proxy = start.egress.proxy
    return Sandbox(
        sandbox_id=start.sandbox_id,
        execution_id=execution_id,
        team_id=start.team_id,
        template_id=start.template.template_id,
        build_id=start.template.build_id,
        node_id=node_id,
        started_at=started.started_at,
        end_at=started.end_at,
        max_length_hours=start.max_length_hours,
        requested_timeout_seconds=start.requested_timeout_seconds,
        vcpu=start.template.vcpu,
        ram_mb=start.template.ram_mb,
        disk_mb=start.template.disk_mb,
        envd_version=start.template.envd_version,
        alias=start.template.alias,
        metadata=start.metadata,
        envd_access_token=start.envd_access_token,
        traffic_access_token=start.traffic_access_token,
        allow_internet_access=start.allow_internet_access,
        network=start.network,
        volume_mounts=tuple((mount.name, mount.path) for mount in start.volume_mounts),
        iam_tokens=start.iam_tokens,
        auto_pause=start.auto_pause,
        auto_pause_memory=start.auto_pause_memory,
        auto_resume=start.auto_resume,
        egress_proxy_password=None if proxy is None else proxy.password,
        egress_proxy_ca_cert=None if proxy is None or proxy.tls is None else proxy.tls[1],
    )
