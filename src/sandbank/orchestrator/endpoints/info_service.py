"""`InfoService` on port 5008 (contract data-plane §9.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.info import (
    DiskMetrics,
    MachineInfo,
    ServiceInfoResponse,
    ServiceInfoRole,
    ServiceInfoStatus,
    ServiceStatusChangeRequest,
)
from sandbank.domain.errors import InvalidError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.machine import MachineLoad, Processor
from sandbank.orchestrator.core.status import NodeStatus, StatusBoard
from sandbank.orchestrator.endpoints.order import to_timestamp

_MIB = 1024 * 1024
_TO_WIRE = {
    NodeStatus.HEALTHY: ServiceInfoStatus.Healthy,
    NodeStatus.DRAINING: ServiceInfoStatus.Draining,
    NodeStatus.UNHEALTHY: ServiceInfoStatus.Unhealthy,
    NodeStatus.STANDBY: ServiceInfoStatus.Standby,
}
_FROM_WIRE = {wire: status for status, wire in _TO_WIRE.items()}


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What does not change while the process runs. `service_id` is random per process."""

    node_id: str
    service_id: str
    version: str
    commit: str
    started_at: datetime
    processor: Processor
    labels: tuple[str, ...] = ()
    runs_sandboxes: bool = True
    builds_templates: bool = False


@dataclass(frozen=True, slots=True)
class InfoEndpoints:
    """Answers both methods; errors are domain errors."""

    identity: NodeIdentity
    status: StatusBoard
    inventory: Inventory
    load: Callable[[], MachineLoad]

    def _roles(self) -> list[ServiceInfoRole]:
        runs, builds = self.identity.runs_sandboxes, self.identity.builds_templates
        return [*([ServiceInfoRole.TemplateBuilder] if builds else []), *([ServiceInfoRole.Orchestrator] if runs else [])]

    async def info(self, request: Empty) -> ServiceInfoResponse:
        """From memory alone: the API asks every node all the time."""
        identity, processor, load, inventory = self.identity, self.identity.processor, self.load(), self.inventory
        return ServiceInfoResponse(
            node_id=identity.node_id,
            service_id=identity.service_id,
            service_version=identity.version,
            service_commit=identity.commit,
            service_status=_TO_WIRE[self.status.status],
            service_roles=self._roles(),
            service_startup=to_timestamp(identity.started_at),
            machine_info=MachineInfo(
                cpu_architecture=processor.architecture,
                cpu_family=processor.family,
                cpu_model=processor.model,
                cpu_model_name=processor.model_name,
                cpu_flags=processor.flags,
            ),
            labels=identity.labels,
            service_status_changed_at=to_timestamp(self.status.changed_at),
            metric_vcpu_used=inventory.allocated_vcpu,
            metric_memory_used_mb=load.memory_used_bytes // _MIB,
            metric_disk_mb=load.disk.used_bytes // _MIB,
            metric_sandboxes_running=len(inventory.running),
            metric_cpu_percent=load.cpu_percent,
            metric_memory_used_bytes=load.memory_used_bytes,
            metric_cpu_count=processor.count,
            metric_memory_total_bytes=load.memory_total_bytes,
            metric_cpu_allocated=inventory.allocated_vcpu,
            metric_memory_allocated_bytes=inventory.allocated_memory_mib * _MIB,
            metric_disk_allocated_bytes=inventory.allocated_disk_mib * _MIB,
            metric_disks=[
                DiskMetrics(
                    mount_point=load.disk.mount_point,
                    device=load.disk.device,
                    filesystem_type=load.disk.filesystem_type,
                    used_bytes=load.disk.used_bytes,
                    total_bytes=load.disk.total_bytes,
                )
            ],
        )

    async def override_status(self, request: ServiceStatusChangeRequest) -> Empty:
        """`ConflictError` for draining → standby, `InvalidError` for a status that this release does not know."""
        status = _FROM_WIRE.get(request.service_status)
        if status is None:
            raise InvalidError(f"unknown service status {request.service_status}")
        self.status.change(status)
        return Empty()
