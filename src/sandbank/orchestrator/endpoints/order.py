"""`SandboxCreateRequest` as the core's order for a sandbox, and back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.contracts.orchestrator import (
    RunningSandbox as WireSandbox,
)
from sandbank.contracts.orchestrator import (
    SandboxConfig,
    SandboxCreateRequest,
)
from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import is_sandbox_id
from sandbank.orchestrator.core.sandbox import RunningSandbox, SandboxOrder
from sandbank.orchestrator.endpoints.egress import settle_egress


def parse_order(request: SandboxCreateRequest) -> SandboxOrder:
    """`InvalidError` for what makes no sense, `DeniedError` or `ConflictError` for what this node does not offer."""
    config = request.sandbox
    _check(request)
    execution_id = config.execution_id or str(uuid.uuid4())
    config.execution_id = execution_id
    egress = settle_egress(config)
    ingress = config.network.ingress
    return SandboxOrder(
        sandbox_id=config.sandbox_id,
        execution_id=execution_id,
        team_id=config.team_id,
        template_id=config.template_id,
        build_id=config.build_id,
        lifetime=max(to_datetime(request.end_time) - to_datetime(request.start_time), timedelta(0)),
        vcpu=config.vcpu,
        memory_mib=config.ram_mb,
        disk_mib=config.total_disk_size_mb,
        config=config.SerializeToString(),
        env_vars=dict(config.env_vars),
        access_token=config.envd_access_token if config.HasField("envd_access_token") else None,
        default_user=config.default_user or None,
        default_workdir=config.default_workdir or None,
        egress=egress,
        traffic_token=ingress.traffic_access_token if ingress.HasField("traffic_access_token") else None,
        mask_host=ingress.mask_request_host if ingress.HasField("mask_request_host") else None,
        https_ports=frozenset(ingress.https_ports),
        auto_pause=config.auto_pause,
        volumes=tuple((mount.id, mount.path) for mount in config.volumeMounts),
        resumes=config.snapshot,
        boots=request.filesystem_boot,
    )


def to_wire(sandbox: RunningSandbox, node_id: str, driver: str) -> WireSandbox:
    """As `List` shows it; without the variables and the egress rules, which nobody asks a node for and which are most of it."""
    config = SandboxConfig.FromString(sandbox.config)
    config.ClearField("env_vars")
    if config.HasField("network"):
        config.network.ClearField("egress")
    return WireSandbox(
        config=config,
        client_id=node_id,
        start_time=to_timestamp(sandbox.started_at),
        end_time=to_timestamp(sandbox.end_at),
        sandbox_id=sandbox.sandbox_id,
        team_id=sandbox.team_id,
        execution_id=sandbox.execution_id,
        vcpu=sandbox.vcpu,
        ram_mb=sandbox.memory_mib,
        driver=driver,
    )


def to_datetime(timestamp: Timestamp) -> datetime:
    """Aware UTC, to the microsecond. `InvalidError` beyond the years 1 to 9999."""
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidError("timestamp out of range") from error


def to_timestamp(moment: datetime) -> Timestamp:
    """The same moment on the wire."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _check(request: SandboxCreateRequest) -> None:
    config = request.sandbox
    if not is_sandbox_id(config.sandbox_id):
        raise InvalidError("Invalid sandbox ID")
    if config.vcpu < 1 or config.ram_mb < 1 or config.total_disk_size_mb < 0:
        raise InvalidError("vcpu and ram_mb must be at least 1, total_disk_size_mb at least 0")
    if not request.HasField("start_time") or not request.HasField("end_time"):
        raise InvalidError("start_time and end_time are required")
    if request.filesystem_boot and not config.snapshot:
        raise InvalidError("filesystem_boot is for snapshots")
