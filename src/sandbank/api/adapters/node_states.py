"""What a node says of itself, as operators see it (data-plane contract §9.3)."""

from __future__ import annotations

from datetime import UTC, datetime

from sandbank.api.core.administration import NodeDisk, NodeState
from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoStatus

STATUS_TO_WIRE = {
    "ready": ServiceInfoStatus.Healthy,
    "draining": ServiceInfoStatus.Draining,
    "unhealthy": ServiceInfoStatus.Unhealthy,
    "standby": ServiceInfoStatus.Standby,
}
_STATUS_FROM_WIRE = {wire: status for status, wire in STATUS_TO_WIRE.items()}


def read_state(info: ServiceInfoResponse, *, silent_since: datetime | None, starting: int, successes: int, fails: int) -> NodeState:
    """`info` is the node's last answer; `silent_since` the first time that it gave none, if that was after it."""
    # A status that only a newer node knows is not healthy, whatever it is.
    status = "unhealthy" if silent_since is not None else _STATUS_FROM_WIRE.get(info.service_status, "unhealthy")
    machine = info.machine_info
    return NodeState(
        node_id=info.node_id,
        instance_id=info.service_id,
        version=info.service_version,
        commit=info.service_commit,
        status=status,
        status_changed_at=silent_since or info.service_status_changed_at.ToDatetime(UTC),
        cpu_family=machine.cpu_family,
        cpu_model=machine.cpu_model,
        cpu_model_name=machine.cpu_model_name,
        cpu_architecture=machine.cpu_architecture,
        sandbox_count=info.metric_sandboxes_running,
        starting_count=starting,
        allocated_cpu=info.metric_cpu_allocated,
        cpu_percent=info.metric_cpu_percent,
        cpu_count=info.metric_cpu_count,
        allocated_memory_bytes=info.metric_memory_allocated_bytes,
        memory_used_bytes=info.metric_memory_used_bytes,
        memory_total_bytes=info.metric_memory_total_bytes,
        disks=tuple(
            NodeDisk(disk.mount_point, disk.device, disk.filesystem_type, disk.used_bytes, disk.total_bytes) for disk in info.metric_disks
        ),
        create_successes=successes,
        create_fails=fails,
    )
