"""A build service as the API sees one: the real gRPC service, builds that a test moves by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty

from sandbank.contracts.template_manager import (
    InitLayerFileUploadRequest,
    InitLayerFileUploadResponse,
    LayerFileChunk,
    LogLevel,
    LogsDirection,
    TemplateBuildDeleteRequest,
    TemplateBuildLogEntry,
    TemplateBuildMetadata,
    TemplateBuildState,
    TemplateBuildStatusReason,
    TemplateBuildStatusResponse,
    TemplateCreateRequest,
    TemplateStatusRequest,
)
from sandbank.domain.errors import DeniedError, NotFoundError, SandbankError
from sandbank.rpc.server import RpcServer
from sandbank.rpc.template_manager import add_template_service

TOKEN = "f00d"
BUILDING, FAILED, COMPLETED = TemplateBuildState.Building, TemplateBuildState.Failed, TemplateBuildState.Completed
DEBUG, INFO, WARN, ERROR = LogLevel.Debug, LogLevel.Info, LogLevel.Warn, LogLevel.Error


@dataclass
class FakeBuild:
    """One build and what it says."""

    request: TemplateCreateRequest
    state: TemplateBuildState = BUILDING
    reason: TemplateBuildStatusReason | None = None
    lines: list[TemplateBuildLogEntry] = field(default_factory=list)

    def say(self, message: str, level: LogLevel = INFO, step: str | None = None) -> None:
        entry = TemplateBuildLogEntry(message=message, level=level, fields={} if step is None else {"step": step})
        entry.timestamp.FromNanoseconds(time.time_ns())
        self.lines.append(entry)

    def complete(self) -> None:
        self.state = COMPLETED

    def fail(self, message: str, step: str | None = None) -> None:
        self.reason = TemplateBuildStatusReason(message=message, step=step)
        self.state = FAILED


class GrpcBuilder:
    """Answers like a build service; `fail_with` makes it refuse."""

    def __init__(self) -> None:
        self.builds: dict[str, FakeBuild] = {}
        self.deleted: list[str] = []
        self.files: dict[str, bytes] = {}
        self.fail_with: SandbankError | None = None
        self.completes_at_once = False
        self.port = 0
        self._server: RpcServer | None = None

    async def start(self) -> None:
        server = RpcServer(lambda _method, error: print(error))
        add_template_service(server, self)
        self.port = await server.start("127.0.0.1:0")
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    def forget(self) -> None:
        """As after a restart without memory."""
        self.builds.clear()

    async def init_upload(self, request: InitLayerFileUploadRequest) -> InitLayerFileUploadResponse:
        if self.fail_with is not None:
            raise self.fail_with
        path = f"{request.cacheScope}/files/{request.hash}.tar"
        url = f"/upload?path={path}&expires=99999999999&token={TOKEN}"
        return InitLayerFileUploadResponse(present=path in self.files, url=url)

    async def upload(self, chunks: AsyncIterator[LayerFileChunk]) -> Empty:
        first = await anext(chunks)
        if first.token != TOKEN:
            raise DeniedError("invalid or expired token")
        data = first.data + b"".join([chunk.data async for chunk in chunks])
        assert len(data) == first.sizeBytes
        self.files[first.path] = data
        return Empty()

    async def create(self, request: TemplateCreateRequest) -> Empty:
        if self.fail_with is not None:
            raise self.fail_with
        build = self.builds[request.template.buildID] = FakeBuild(request)
        build.say(f"Building template {request.template.templateID}/{request.template.buildID}", step="base")
        if self.completes_at_once:
            build.say("Build finished, took 0s")
            build.complete()
        return Empty()

    async def status(self, request: TemplateStatusRequest) -> TemplateBuildStatusResponse:
        build = self.builds.get(request.buildID)
        if build is None:
            raise NotFoundError(f"build '{request.buildID}' is not known")
        lines = [line for line in build.lines if line.level >= request.level and _is_within(line, request)]
        if request.direction == LogsDirection.Backward:
            lines.reverse()
        response = TemplateBuildStatusResponse(
            status=build.state,
            metadata=TemplateBuildMetadata(rootfsSizeKey=2048, envdVersionKey="0.6.13", kernelVersion="", firecrackerVersion=""),
            logEntries=lines[request.offset : request.offset + request.limit],
        )
        if build.reason is not None:
            response.reason.CopyFrom(build.reason)
        return response

    async def delete(self, request: TemplateBuildDeleteRequest) -> Empty:
        self.deleted.append(request.buildID)
        self.builds.pop(request.buildID, None)
        return Empty()


def _is_within(line: TemplateBuildLogEntry, request: TemplateStatusRequest) -> bool:
    at = line.timestamp.ToNanoseconds()
    after = not request.HasField("start") or at >= request.start.ToNanoseconds()
    return after and (not request.HasField("end") or at <= request.end.ToNanoseconds())
