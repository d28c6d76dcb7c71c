"""Sandboxes as the nodes' messages say them (data-plane contract §9.1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.api.core.egress import EgressWish
from sandbank.api.core.start import SandboxStart, Started
from sandbank.contracts.orchestrator import (
    RunningSandbox,
    SandboxAutoResumeConfig,
    SandboxConfig,
    SandboxCreateRequest,
    SandboxCreateResponse,
    SandboxEgressProxyTls,
    SandboxIamToken,
    SandboxNetworkConfig,
    SandboxNetworkEgressConfig,
    SandboxNetworkIngressConfig,
    SandboxUpdateRequest,
)
from sandbank.domain.sandbox import Sandbox


def to_timestamp(at: datetime) -> Timestamp:
    """A time as the wire has it."""
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC).replace(tzinfo=None))
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """And back, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)


def create_request(start: SandboxStart, execution_id: str, now: datetime) -> SandboxCreateRequest:
    """What a node is told. The end is what the timeout makes of `now`; the node says in its answer what it made of it."""
    template = start.template
    config = SandboxConfig(
        template_id=start.snapshot_env_id or template.template_id,
        base_template_id=template.template_id,
        build_id=template.build_id,
        kernel_version=template.kernel_version,
        firecracker_version=template.firecracker_version,
        envd_version=template.envd_version,
        sandbox_id=start.sandbox_id,
        execution_id=execution_id,
        team_id=start.team_id,
        env_vars=dict(start.env_vars),
        metadata=dict(start.metadata),
        vcpu=template.vcpu,
        ram_mb=template.ram_mb,
        total_disk_size_mb=template.disk_mb,
        max_sandbox_length=start.max_length_hours,
        requested_timeout_seconds=start.requested_timeout_seconds,
        snapshot=start.snapshot_env_id is not None,
        auto_pause=start.auto_pause,
        auto_pause_filesystem_only=not start.auto_pause_memory,
    )
    if template.alias is not None:
        config.alias = template.alias
    if start.envd_access_token is not None:
        config.envd_access_token = start.envd_access_token
    if start.allow_internet_access is not None:
        config.allow_internet_access = start.allow_internet_access
    if start.network is not None:
        config.requested_network_json = json.dumps(start.network)
    config.network.CopyFrom(_network(start))
    policy = "any" if start.auto_resume else "off"
    config.auto_resume.CopyFrom(SandboxAutoResumeConfig(policy=policy, timeout_seconds=start.requested_timeout_seconds))
    for mount in start.volume_mounts:
        config.volumeMounts.add(id=mount.volume_id, name=mount.name, path=mount.path)
    for name, audience in start.iam_tokens.items():
        config.iam.tokens[name].CopyFrom(SandboxIamToken(audience=audience, token_type="JWT-SVID"))  # noqa: S106  # a kind
    end_at = now + timedelta(seconds=start.timeout_seconds)
    return SandboxCreateRequest(
        sandbox=config, start_time=to_timestamp(now), end_time=to_timestamp(end_at), filesystem_boot=start.boots or None
    )


def _network(start: SandboxStart) -> SandboxNetworkConfig:
    ingress = SandboxNetworkIngressConfig()
    if start.traffic_access_token is not None:
        ingress.traffic_access_token = start.traffic_access_token
    if start.mask_request_host is not None:
        ingress.mask_request_host = start.mask_request_host
    ingress.https_ports.extend(start.https_ports)
    return SandboxNetworkConfig(ingress=ingress, egress=egress_message(start.egress))


def egress_message(wish: EgressWish) -> SandboxNetworkEgressConfig:
    """Egress rules as a node is told them."""
    egress = SandboxNetworkEgressConfig(
        allowed_cidrs=wish.allowed_cidrs, denied_cidrs=wish.denied_cidrs, allowed_domains=wish.allowed_domains
    )
    for domain, headers in wish.rules.items():
        egress.rules[domain].rules.add().transform.headers.update(headers)
    if wish.proxy is not None:
        egress.egress_proxy_address = wish.proxy.address
        egress.egress_proxy_username = wish.proxy.username or ""
        egress.egress_proxy_password = wish.proxy.password or ""
        if wish.proxy.tls is not None:
            name, certificate = wish.proxy.tls
            egress.egress_proxy_tls.CopyFrom(SandboxEgressProxyTls(server_name=name or "", ca_cert=certificate or ""))
    return egress


def egress_update(sandbox: Sandbox, wish: EgressWish, allow_internet_access: bool | None) -> SandboxUpdateRequest:
    """New egress rules for a sandbox whose record is to become `sandbox`."""
    request = SandboxUpdateRequest(sandbox_id=sandbox.sandbox_id, egress=egress_message(wish))
    if sandbox.network is not None:
        request.requested_network_json = json.dumps(sandbox.network)
    if allow_internet_access is not None:
        request.allow_internet_access = allow_internet_access
    return request


def read_started(response: SandboxCreateResponse, start: SandboxStart, now: datetime) -> Started:
    """The times of a node's answer; one that does not tell them gets ours."""
    started_at = from_timestamp(response.started_at) if response.HasField("started_at") else now
    end_at = from_timestamp(response.end_at) if response.HasField("end_at") else started_at + timedelta(seconds=start.timeout_seconds)
    return Started(started_at, end_at)


def read_running(running: RunningSandbox, node_id: str) -> Sandbox:
    """The record of a sandbox as its node remembers it."""
    config = running.config
    ingress, egress = config.network.ingress, config.network.egress
    return Sandbox(
        sandbox_id=running.sandbox_id,
        execution_id=running.execution_id,
        team_id=running.team_id or config.team_id,
        template_id=config.base_template_id or config.template_id,
        build_id=config.build_id,
        node_id=node_id,
        started_at=from_timestamp(running.start_time),
        end_at=from_timestamp(running.end_time),
        max_length_hours=config.max_sandbox_length,
        requested_timeout_seconds=config.requested_timeout_seconds,
        vcpu=running.vcpu or config.vcpu,
        ram_mb=running.ram_mb or config.ram_mb,
        disk_mb=config.total_disk_size_mb,
        envd_version=config.envd_version,
        alias=config.alias if config.HasField("alias") else None,
        metadata=dict(config.metadata),
        envd_access_token=config.envd_access_token if config.HasField("envd_access_token") else None,
        traffic_access_token=ingress.traffic_access_token if ingress.HasField("traffic_access_token") else None,
        allow_internet_access=config.allow_internet_access if config.HasField("allow_internet_access") else None,
        network=json.loads(config.requested_network_json) if config.requested_network_json else None,
        volume_mounts=tuple((mount.name, mount.path) for mount in config.volumeMounts),
        iam_tokens={name: token.audience for name, token in config.iam.tokens.items()},
        auto_pause=config.auto_pause,
        auto_pause_memory=not config.auto_pause_filesystem_only,
        auto_resume=config.auto_resume.policy == "any",
        egress_proxy_password=egress.egress_proxy_password or None,
        egress_proxy_ca_cert=egress.egress_proxy_tls.ca_cert or None,
    )
