"""`SandboxService` on port 5008 (contract data-plane §9.1, §9.2)."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.orchestrator import (
    SandboxCreateRequest,
    SandboxCreateResponse,
    SandboxDeleteRequest,
    SandboxListResponse,
    SandboxUpdateRequest,
    SchedulingMetadata,
)
from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.orchestrator.core.create import Creation
from sandbank.orchestrator.core.events import UPDATED, LifecycleEvent
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import Clock, Events, SandboxRecords
from sandbank.orchestrator.core.removal import Removal
from sandbank.orchestrator.core.update import move_end
from sandbank.orchestrator.endpoints.order import parse_order, to_datetime, to_timestamp, to_wire


@dataclass(frozen=True, slots=True)
class SandboxEndpoints:
    """Answers the four methods; errors are domain errors."""

    node_id: str
    driver_name: str
    inventory: Inventory
    records: SandboxRecords
    creation: Creation
    removal: Removal
    events: Events
    clock: Clock

    async def create(self, request: SandboxCreateRequest) -> SandboxCreateResponse:
        """Start and end times in the answer are the node's: they count from when the sandbox became usable."""
        sandbox = await self.creation.create(parse_order(request))
        return SandboxCreateResponse(
            client_id=self.node_id,
            scheduling_metadata=SchedulingMetadata(build_id=request.sandbox.build_id),
            filesystem_boot_applied=request.filesystem_boot,
            started_at=to_timestamp(sandbox.started_at),
            end_at=to_timestamp(sandbox.end_at),
            driver=self.driver_name,
        )

    async def update(self, request: SandboxUpdateRequest) -> Empty:
        """Moves the end. New egress rules are refused as a whole, and with them the request: the driver cannot change them later."""
        if request.sandbox_id not in self.inventory.running:
            raise NotFoundError("sandbox not found")
        if request.HasField("egress"):
            raise ConflictError("failed to update sandbox: this node cannot change the egress rules of a running sandbox")
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
        self.removal.delete(request.sandbox_id, request.kill_reason or "unknown")
        return Empty()
