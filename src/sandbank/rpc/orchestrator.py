"""The node's services on port 5008 (contract data-plane §9): what clients call and what servers answer."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoStatus, ServiceStatusChangeRequest
from sandbank.contracts.orchestrator import (
    SandboxCheckpointRequest,
    SandboxCheckpointResponse,
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
)
from sandbank.rpc.channel import Channel
from sandbank.rpc.server import Method, RpcServer

_QUICK_SECONDS = 10.0
_LISTING_SECONDS = 120.0


class SandboxHandler(Protocol):
    """What answers `SandboxService`; every method raises domain errors."""

    async def create(self, request: SandboxCreateRequest) -> SandboxCreateResponse: ...

    async def update(self, request: SandboxUpdateRequest) -> Empty: ...

    async def list(self, request: Empty) -> SandboxListResponse: ...

    async def delete(self, request: SandboxDeleteRequest) -> Empty: ...

    async def pause(self, request: SandboxPauseRequest) -> SandboxPauseResponse: ...

    async def checkpoint(self, request: SandboxCheckpointRequest) -> SandboxCheckpointResponse: ...

    async def delete_snapshot(self, request: SandboxSnapshotDeleteRequest) -> Empty: ...

    async def list_snapshots(self, request: SandboxSnapshotListRequest) -> SandboxSnapshotListResponse: ...


class InfoHandler(Protocol):
    """What answers `InfoService`; every method raises domain errors."""

    async def info(self, request: Empty) -> ServiceInfoResponse: ...

    async def override_status(self, request: ServiceStatusChangeRequest) -> Empty: ...


def add_sandbox_service(server: RpcServer, handler: SandboxHandler) -> None:
    """Let `handler` answer `/SandboxService/…`."""
    server.add(
        "SandboxService",
        {
            "Create": Method(SandboxCreateRequest, handler.create),
            "Update": Method(SandboxUpdateRequest, handler.update),
            "List": Method(Empty, handler.list),
            "Delete": Method(SandboxDeleteRequest, handler.delete),
            "Pause": Method(SandboxPauseRequest, handler.pause),
            "Checkpoint": Method(SandboxCheckpointRequest, handler.checkpoint),
            "DeleteSnapshot": Method(SandboxSnapshotDeleteRequest, handler.delete_snapshot),
            "ListSnapshots": Method(SandboxSnapshotListRequest, handler.list_snapshots),
        },
    )


def add_info_service(server: RpcServer, handler: InfoHandler) -> None:
    """Let `handler` answer `/InfoService/…`."""
    server.add(
        "InfoService",
        {
            "ServiceInfo": Method(Empty, handler.info),
            "ServiceStatusOverride": Method(ServiceStatusChangeRequest, handler.override_status),
        },
    )


class OrchestratorClient:
    """Calls one node. Raises `sandbank.domain.errors` only; a cancelled call is cancelled at the node as well."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = Channel(address, "orchestrator")

    async def create(self, request: SandboxCreateRequest, timeout_seconds: float = 60) -> SandboxCreateResponse:
        """Returns once the agent in the sandbox has answered and the sandbox is routable; failed or cancelled, nothing is left."""
        return await self._channel.call("/SandboxService/Create", request, SandboxCreateResponse, timeout_seconds)

    async def delete_snapshot(self, build_id: str) -> None:
        """Removes what a pause has left on the node under the name of that build; idempotent."""
        await self._channel.call("/SandboxService/DeleteSnapshot", SandboxSnapshotDeleteRequest(build_id=build_id), Empty, _QUICK_SECONDS)

    async def list_snapshots(self, *, shared: bool = False) -> set[str]:
        """The builds of all snapshots on the node, or in the storage that it shares with others."""
        request = SandboxSnapshotListRequest(shared=shared)
        response = await self._channel.call("/SandboxService/ListSnapshots", request, SandboxSnapshotListResponse, _LISTING_SECONDS)
        return set(response.build_ids)

    async def update(self, request: SandboxUpdateRequest) -> None:
        """Sets the end time, the egress rules, or both; `NotFoundError` when the node runs no such sandbox."""
        await self._channel.call("/SandboxService/Update", request, Empty, _QUICK_SECONDS)

    async def list(self) -> SandboxListResponse:
        """Every routable sandbox of the node."""
        return await self._channel.call("/SandboxService/List", Empty(), SandboxListResponse, _QUICK_SECONDS)

    async def delete(self, request: SandboxDeleteRequest) -> None:
        """Unroutable when it returns; removal goes on in the background. `NotFoundError` when the node runs no such sandbox."""
        await self._channel.call("/SandboxService/Delete", request, Empty, _QUICK_SECONDS)

    async def pause(self, request: SandboxPauseRequest, timeout_seconds: float = 60) -> SandboxPauseResponse:
        """The sandbox is on the node's disk, whole, and runs no more when it returns.

        `ConflictError` (it cannot be saved, the message is why), `UnavailableError` and `ExhaustedError` leave it running untouched;
        `NotFoundError` when the node does not run it, `InternalError` when it is lost.
        """
        return await self._channel.call("/SandboxService/Pause", request, SandboxPauseResponse, timeout_seconds)

    async def checkpoint(self, request: SandboxCheckpointRequest, timeout_seconds: float = 60) -> SandboxCheckpointResponse:
        """As `pause`, but the sandbox goes on under the same execution."""
        return await self._channel.call("/SandboxService/Checkpoint", request, SandboxCheckpointResponse, timeout_seconds)

    async def info(self) -> ServiceInfoResponse:
        """Identity, status and load of the node."""
        return await self._channel.call("/InfoService/ServiceInfo", Empty(), ServiceInfoResponse, _QUICK_SECONDS)

    async def override_status(self, status: ServiceInfoStatus) -> None:
        """`ConflictError` for draining → standby."""
        request = ServiceStatusChangeRequest(service_status=status)
        await self._channel.call("/InfoService/ServiceStatusOverride", request, Empty, _QUICK_SECONDS)

    async def close(self) -> None:
        """Break off what is in flight. Idempotent."""
        await self._channel.close()
