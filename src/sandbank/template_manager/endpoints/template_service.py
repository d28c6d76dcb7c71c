"""`TemplateService` (contract data-plane §9.6)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.contracts.template_manager import (
    FromImageRegistry,
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
    TemplateConfig,
    TemplateCreateRequest,
    TemplateStatusRequest,
)
from sandbank.domain.errors import InvalidError
from sandbank.domain.log_record import LEVELS
from sandbank.template_manager.core import upload_link
from sandbank.template_manager.core.build_log import LogEntry, LogPage
from sandbank.template_manager.core.build_queue import BuildQueue, BuildState
from sandbank.template_manager.core.order import V2_1, BuildOrder, Step
from sandbank.template_manager.core.ports import Uploads
from sandbank.version import ENVD_VERSION

_MOST_ENTRIES = 100
# What E2B's API stores of a build; there is neither a kernel nor a Firecracker of its own here.
_KERNEL_VERSION, _FIRECRACKER_VERSION = "", ""
_STATES = {
    BuildState.BUILDING: TemplateBuildState.Building,
    BuildState.FAILED: TemplateBuildState.Failed,
    BuildState.COMPLETED: TemplateBuildState.Completed,
}


@dataclass(frozen=True, slots=True)
class TemplateEndpoints:
    """Answers the methods. `base_url` is where clients reach this node's uploads themselves, empty: through the API."""

    queue: BuildQueue
    files: Uploads
    base_url: str = ""
    clock: Callable[[], float] = time.time

    async def init_upload(self, request: InitLayerFileUploadRequest) -> InitLayerFileUploadResponse:
        """A link is given also for what is there: clients may insist on uploading it again."""
        path = upload_link.path_of(request.cacheScope or request.templateID, request.hash)
        link = upload_link.make_link(self.files.key(), path, self.clock())
        present = self.files.find(request.cacheScope or request.templateID, request.hash) is not None
        return InitLayerFileUploadResponse(present=present, url=f"{self.base_url}{link}")

    async def upload(self, chunks: AsyncIterator[LayerFileChunk]) -> Empty:
        """`DeniedError` for a link that is not ours or too old; other errors as `Uploads.write`."""
        first = await anext(chunks, None)
        if first is None:
            raise InvalidError("an upload begins with where it goes")
        scope, digest = upload_link.check_link(self.files.key(), first.path, first.expires, first.token, self.clock())

        async def content() -> AsyncIterator[bytes]:
            yield first.data
            async for chunk in chunks:
                yield chunk.data

        await self.files.write(scope, digest, first.sizeBytes, content())
        return Empty()

    async def create(self, request: TemplateCreateRequest) -> Empty:
        """Returns once the build is on disk; it runs on."""
        await self.queue.accept(_order(request))
        return Empty()

    async def status(self, request: TemplateStatusRequest) -> TemplateBuildStatusResponse:
        """Lines of the log with it, up to a hundred."""
        status = self.queue.status(request.buildID, _page(request))
        response = TemplateBuildStatusResponse(
            status=_STATES[status.state],
            metadata=TemplateBuildMetadata(
                rootfsSizeKey=status.size_mib + status.disk_mib,
                envdVersionKey=ENVD_VERSION,
                kernelVersion=_KERNEL_VERSION,
                firecrackerVersion=_FIRECRACKER_VERSION,
            ),
            logEntries=[_wire(entry) for entry in status.entries],
        )
        if status.failure is not None:
            response.reason.CopyFrom(TemplateBuildStatusReason(message=status.failure.message, step=status.failure.step))
        return response

    async def delete(self, request: TemplateBuildDeleteRequest) -> Empty:
        """Idempotent."""
        await self.queue.cancel(request.buildID)
        return Empty()


def _order(request: TemplateCreateRequest) -> BuildOrder:
    config = request.template
    source = config.WhichOneof("source")
    if source is None:
        raise InvalidError("a template starts from an image or from another template")
    has_base = source == "fromTemplate"
    return BuildOrder(
        template_id=config.templateID,
        build_id=config.buildID,
        team_id=config.teamID,
        scope=request.cacheScope or config.templateID,
        version=request.version or V2_1,
        vcpu=config.vCpuCount,
        memory_mib=config.memoryMB,
        disk_mib=config.diskSizeMB,
        image=config.fromImage or None,
        credentials=_credentials(config),
        base_alias=config.fromTemplate.alias if has_base else "",
        base_build_id=config.fromTemplate.buildID if has_base else None,
        steps=tuple(
            Step(step.type.upper(), tuple(step.args), step.filesHash if step.HasField("filesHash") else None, step.force)
            for step in config.steps
        ),
        start_command=config.startCommand,
        ready_command=config.readyCommand,
        force=config.force,
    )


def _credentials(config: TemplateConfig) -> dict[str, str]:
    registry: FromImageRegistry = config.fromImageRegistry
    kind = registry.WhichOneof("type")
    if kind is None:
        return {}
    message = getattr(registry, kind)
    return {"type": kind, **{field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}}


def _page(request: TemplateStatusRequest) -> LogPage:
    return LogPage(
        offset=max(0, request.offset),
        limit=min(request.limit, _MOST_ENTRIES) if request.HasField("limit") else _MOST_ENTRIES,
        level=LEVELS[request.level],
        start_ns=request.start.ToNanoseconds() if request.HasField("start") else None,
        end_ns=request.end.ToNanoseconds() if request.HasField("end") else None,
        backward=request.direction == LogsDirection.Backward,
    )


def _wire(entry: LogEntry) -> TemplateBuildLogEntry:
    timestamp = Timestamp()
    timestamp.FromNanoseconds(entry.timestamp_ns)
    level = LogLevel.Name(LEVELS.index(entry.level))
    return TemplateBuildLogEntry(timestamp=timestamp, message=entry.message, level=level, fields=dict(entry.fields))
