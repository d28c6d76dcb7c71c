"""A node as the API sees one: the real gRPC services, sandboxes that exist in name only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.info import (
    DiskMetrics,
    MachineInfo,
    ServiceInfoResponse,
    ServiceInfoRole,
    ServiceInfoStatus,
    ServiceStatusChangeRequest,
)
from sandbank.contracts.orchestrator import (
    RunningSandbox,
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
from sandbank.domain.errors import ConflictError, NotFoundError, SandbankError
from sandbank.orchestrator.adapters.volume_directory import VolumeDirectory
from sandbank.orchestrator.endpoints.volume_service import VolumeEndpoints
from sandbank.rpc.orchestrator import add_info_service, add_sandbox_service
from sandbank.rpc.server import RpcServer
from sandbank.rpc.volume import add_volume_service


class GrpcNode:
    """Answers like an orchestrator; `fail_with` and `create_gate` make it misbehave."""

    def __init__(self, node_id: str = "node-1", volumes: Path | None = None) -> None:
        self.node_id = node_id
        self._volumes = volumes  # where real ones are kept, if it has any
        self.sandboxes: dict[str, RunningSandbox] = {}
        self.created: list[SandboxCreateRequest] = []
        self.deleted: list[tuple[str, str]] = []
        self.on_create: Callable[[str], None] = lambda sandbox_id: None
        self.paused: list[SandboxPauseRequest] = []
        self.pausing: dict[str, SandboxPauseRequest] = {}
        self.deleted_snapshots: list[str] = []
        self.shared: list[str] = []
        self.checkpointing: list[str] = []
        self.fail_pause_with: SandbankError | None = None
        self.pause_gate: asyncio.Event | None = None
        self.fail_with: SandbankError | None = None
        self.fail_delete_with: SandbankError | None = None
        self.create_gate: asyncio.Event | None = None
        self.status = ServiceInfoStatus.Healthy
        self.roles = [ServiceInfoRole.TemplateBuilder, ServiceInfoRole.Orchestrator]
        self.service_id = "process-1"
        self.cpu_count = 2
        self.address = ""
        self._server: RpcServer | None = None

    async def delete_snapshot(self, request: SandboxSnapshotDeleteRequest) -> Empty:
        self.deleted_snapshots.append(request.build_id)
        self.paused = [paused for paused in self.paused if paused.build_id != request.build_id]
        return Empty()

    async def list_snapshots(self, request: SandboxSnapshotListRequest) -> SandboxSnapshotListResponse:
        return SandboxSnapshotListResponse(build_ids=self.shared if request.shared else [paused.build_id for paused in self.paused])

    async def start(self, port: int = 0) -> None:
        faults: list[BaseException] = []
        server = RpcServer(lambda _method, error: faults.append(error))
        add_sandbox_service(server, self)
        add_info_service(server, self)
        if self._volumes is not None:
            add_volume_service(server, VolumeEndpoints(VolumeDirectory(self._volumes, 16)))
        self.address = f"127.0.0.1:{await server.start(f'127.0.0.1:{port}')}"
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    async def create(self, request: SandboxCreateRequest) -> SandboxCreateResponse:
        self.created.append(request)
        if self.create_gate is not None:
            await self.create_gate.wait()
        if self.fail_with is not None:
            raise self.fail_with
        config = request.sandbox
        if config.snapshot and config.build_id not in {paused.build_id for paused in self.paused}:
            raise ConflictError(f"sandbox files for '{config.sandbox_id}' not found")
        now = datetime.now(UTC)
        end = now + (request.end_time.ToDatetime() - request.start_time.ToDatetime())
        running = RunningSandbox(
            config=config,
            client_id=self.node_id,
            sandbox_id=config.sandbox_id,
            team_id=config.team_id,
            execution_id=config.execution_id,
            vcpu=config.vcpu,
            ram_mb=config.ram_mb,
        )
        running.start_time.FromDatetime(now)
        running.end_time.FromDatetime(end)
        self.sandboxes[config.sandbox_id] = running
        self.on_create(config.sandbox_id)
        response = SandboxCreateResponse(client_id=self.node_id)
        response.started_at.CopyFrom(running.start_time)
        response.end_at.CopyFrom(running.end_time)
        return response

    async def update(self, request: SandboxUpdateRequest) -> Empty:
        if request.sandbox_id not in self.sandboxes:
            raise NotFoundError("sandbox not found")
        self.sandboxes[request.sandbox_id].end_time.CopyFrom(request.end_time)
        return Empty()

    async def list(self, request: Empty) -> SandboxListResponse:
        return SandboxListResponse(sandboxes=list(self.sandboxes.values()))

    async def delete(self, request: SandboxDeleteRequest) -> Empty:
        if self.fail_delete_with is not None:
            raise self.fail_delete_with
        found = self.sandboxes.get(request.sandbox_id)
        if found is None or request.execution_id not in ("", found.execution_id):
            raise NotFoundError(f"sandbox '{request.sandbox_id}' not found")
        del self.sandboxes[request.sandbox_id]
        self.deleted.append((request.sandbox_id, request.kill_reason))
        return Empty()

    async def pause(self, request: SandboxPauseRequest) -> SandboxPauseResponse:
        if request.sandbox_id not in self.sandboxes:
            if request.build_id in {paused.build_id for paused in self.paused}:
                return SandboxPauseResponse()
            raise NotFoundError(f"sandbox '{request.sandbox_id}' not found")
        self.pausing[request.sandbox_id] = request
        if self.pause_gate is not None:
            await self.pause_gate.wait()
        if self.fail_pause_with is not None:
            raise self.fail_pause_with
        self.save(request.sandbox_id)
        return SandboxPauseResponse()

    def save(self, sandbox_id: str) -> None:
        """Do what a pause in progress is about to do."""
        self.paused.append(self.pausing[sandbox_id])
        del self.sandboxes[sandbox_id]

    async def checkpoint(self, request: SandboxCheckpointRequest) -> SandboxCheckpointResponse:
        if request.sandbox_id not in self.sandboxes:
            raise NotFoundError(f"sandbox '{request.sandbox_id}' not found")
        self.checkpointing.append(request.sandbox_id)
        if self.pause_gate is not None:
            await self.pause_gate.wait()
        if self.fail_pause_with is not None:
            raise self.fail_pause_with
        self.paused.append(SandboxPauseRequest(sandbox_id=request.sandbox_id, build_id=request.build_id))
        return SandboxCheckpointResponse()

    async def info(self, request: Empty) -> ServiceInfoResponse:
        info = ServiceInfoResponse(
            node_id=self.node_id,
            service_id=self.service_id,
            service_version="1.2.3",
            service_commit="abcdef0",
            service_status=self.status,
            service_roles=self.roles,
            machine_info=MachineInfo(cpu_architecture="x86_64", cpu_family="6", cpu_model="85", cpu_model_name="Some CPU"),
            metric_cpu_count=self.cpu_count,
            metric_cpu_percent=7,
            metric_cpu_allocated=sum(sandbox.vcpu for sandbox in self.sandboxes.values()),
            metric_memory_allocated_bytes=sum(sandbox.ram_mb for sandbox in self.sandboxes.values()) * 1024 * 1024,
            metric_memory_used_bytes=5,
            metric_memory_total_bytes=11,
            metric_disks=[DiskMetrics(mount_point="/", device="/dev/vda", filesystem_type="ext4", used_bytes=3, total_bytes=4)],
            metric_sandboxes_running=len(self.sandboxes),
        )
        info.service_status_changed_at.FromSeconds(1_800_000_000)
        return info

    async def override_status(self, request: ServiceStatusChangeRequest) -> Empty:
        if (self.status, request.service_status) == (ServiceInfoStatus.Draining, ServiceInfoStatus.Standby):
            raise ConflictError("cannot change node status from draining to standby")
        self.status = request.service_status
        return Empty()
