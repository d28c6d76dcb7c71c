"""`SandboxService` on port 5008 (contract data-plane §9.1, §9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.orchestrator import (
    SandboxCheckpointRequest,
    SandboxCheckpointResponse,
    SandboxConfig,
    SandboxCreateRequest,
    SandboxCreateResponse,
    SandboxDeleteRequest,
    SandboxListResponse,
    SandboxPauseRequest,
    SandboxPauseResponse,
    SandboxSnapshotDeleteRequest,
    SandboxSnapshotListRequest,
    SandboxSnapshotListResponse,
    SandboxUpdateRequest,
    SchedulingMetadata,
)
from sandbank.domain.errors import NotFoundError
from sandbank.orchestrator.core.create import Creation
from sandbank.orchestrator.core.egress_update import EgressUpdate
from sandbank.orchestrator.core.events import UPDATED, LifecycleEvent
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.pause import Pausing
from sandbank.orchestrator.core.ports import Clock, Events, SandboxRecords
from sandbank.orchestrator.core.removal import Removal
from sandbank.orchestrator.core.update import move_end
from sandbank.orchestrator.endpoints.egress import parse_egress, replace_egress
from sandbank.orchestrator.endpoints.order import parse_order, to_datetime, to_timestamp, to_wire
from sandbank.runtime.driver import EgressPolicy


@dataclass(frozen=True, slots=True)
class SandboxEndpoints:
    """Answers the methods; errors are domain errors."""

    node_id: str
    driver_name: str
    inventory: Inventory
    records: SandboxRecords
    creation: Creation
    removal: Removal
    pausing: Pausing
    egress: EgressUpdate
    events: Events
    clock: Clock

    async def create(self, request: SandboxCreateRequest) -> SandboxCreateResponse:
        """Start and end times in the answer are the node's: they count from when the sandbox became usable."""
        order = parse_order(request)
        sandbox = await self.creation.create(order)
        return SandboxCreateResponse(
            client_id=self.node_id,
            scheduling_metadata=SchedulingMetadata(build_id=request.sandbox.build_id),
            filesystem_boot_applied=self.creation.boots(order),
            started_at=to_timestamp(sandbox.started_at),
            end_at=to_timestamp(sandbox.end_at),
            driver=self.driver_name,
        )

    async def update(self, request: SandboxUpdateRequest) -> Empty:
        """Moves the end, replaces the egress rules, or both: rules first, which may be refused."""
        if request.sandbox_id not in self.inventory.running:
            raise NotFoundError("sandbox not found")
        if request.HasField("egress"):
            changed = await self.egress.apply(request.sandbox_id, partial(_with_rules, request))
            self.events.emit(LifecycleEvent(UPDATED, self.clock(), changed, egress_changed=True))
        if request.HasField("end_time"):
            moved = move_end(self.inventory, self.records, request.sandbox_id, to_datetime(request.end_time))
            self.events.emit(LifecycleEvent(UPDATED, self.clock(), moved, end_moved=True))
        return Empty()

    async def list(self, request: Empty) -> SandboxListResponse:
        """All routable sandboxes."""
        sandboxes = [to_wire(sandbox, self.node_id, self.driver_name) for sandbox in self.inventory.running.values()]
        return SandboxListResponse(sandboxes=sandboxes)

    async def delete(self, request: SandboxDeleteRequest) -> Empty:
        """Unroutable at once, removed in the background."""
        self.removal.delete(request.sandbox_id, request.kill_reason or "unknown", request.execution_id or None)
        return Empty()

    async def pause(self, request: SandboxPauseRequest) -> SandboxPauseResponse:
        """Saved under the name of the build and ended when it answers; idempotent."""
        await self.pausing.pause(request.sandbox_id, request.build_id, memory=not request.filesystem_only)
        return SandboxPauseResponse(scheduling_metadata=SchedulingMetadata(build_id=request.build_id))

    async def delete_snapshot(self, request: SandboxSnapshotDeleteRequest) -> Empty:
        """Idempotent."""
        await self.pausing.forget(request.build_id)
        return Empty()

    async def list_snapshots(self, request: SandboxSnapshotListRequest) -> SandboxSnapshotListResponse:
        """Complete ones of this node; of storage, all that left something there."""
        return SandboxSnapshotListResponse(build_ids=sorted(await self.pausing.saved(shared=request.shared)))

    async def checkpoint(self, request: SandboxCheckpointRequest) -> SandboxCheckpointResponse:
        """Saved under the name of the build while it stands still for a moment."""
        await self.pausing.checkpoint(request.sandbox_id, request.build_id, memory=not request.filesystem_only)
        return SandboxCheckpointResponse(scheduling_metadata=SchedulingMetadata(build_id=request.build_id))


def _with_rules(request: SandboxUpdateRequest, config: bytes) -> tuple[bytes, EgressPolicy, EgressPolicy]:
    changed = SandboxConfig.FromString(config)
    before = parse_egress(changed.network.egress)
    policy = replace_egress(changed, request)
    return changed.SerializeToString(), policy, before
