"""Builds as the build service's messages say them (data-plane contract §9.6)."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from sandbank.api.core.builders import BuildLine, BuildProgress, LinePage
from sandbank.api.core.template_build import BuildReason, BuildResult, BuildState
from sandbank.api.core.template_recipe import BuildOrder
from sandbank.contracts.template_manager import (
    FromTemplateConfig,
    LogLevel,
    LogsDirection,
    TemplateBuildLogEntry,
    TemplateBuildState,
    TemplateBuildStatusResponse,
    TemplateConfig,
    TemplateCreateRequest,
    TemplateStatusRequest,
    TemplateStep,
)
from sandbank.domain.log_record import LEVELS

_TO_WIRE = dict(zip(LEVELS, (LogLevel.Debug, LogLevel.Info, LogLevel.Warn, LogLevel.Error), strict=True))
_FROM_WIRE = {wire: level for level, wire in _TO_WIRE.items()}
_STATES = {
    TemplateBuildState.Building: BuildState.BUILDING,
    TemplateBuildState.Failed: BuildState.ERROR,
    TemplateBuildState.Completed: BuildState.READY,
}


def create_request(order: BuildOrder) -> TemplateCreateRequest:
    """The whole order; files and layers are the team's (§1.8)."""
    recipe = order.recipe
    config = TemplateConfig(
        templateID=order.template_id,
        buildID=order.build_id,
        teamID=order.team_id,
        memoryMB=order.ram_mb,
        vCpuCount=order.vcpu,
        diskSizeMB=order.free_disk_mb,
        startCommand=recipe.start_cmd,
        readyCommand=recipe.ready_cmd,
        force=recipe.force,
        steps=[TemplateStep(type=step.type, args=step.args, force=step.force, filesHash=step.files_hash or None) for step in recipe.steps],
    )
    if order.base is not None:
        config.fromTemplate.CopyFrom(FromTemplateConfig(alias=order.base.alias, buildID=order.base.build_id))
    else:
        config.fromImage = recipe.image or ""
    _add_registry(config, recipe.registry)
    return TemplateCreateRequest(template=config, cacheScope=order.team_id, version=order.version)


def _add_registry(config: TemplateConfig, registry: Mapping[str, str] | None) -> None:
    if registry is None:
        return
    fields = {name: value for name, value in registry.items() if name != "type"}
    kinds = {"aws": config.fromImageRegistry.aws, "gcp": config.fromImageRegistry.gcp, "registry": config.fromImageRegistry.general}
    kind = kinds[registry["type"]]
    kind.SetInParent()
    for name, value in fields.items():
        setattr(kind, name, value)


def read_progress(response: TemplateBuildStatusResponse) -> BuildProgress:
    """Where a build is; a state that this release does not know is one that goes on."""
    metadata = response.metadata
    return BuildProgress(
        state=_STATES.get(response.status, BuildState.BUILDING),
        result=BuildResult(
            disk_mb=metadata.rootfsSizeKey,
            envd_version=metadata.envdVersionKey,
            kernel_version=metadata.kernelVersion,
            firecracker_version=metadata.firecrackerVersion,
        ),
        reason=BuildReason(response.reason.message, response.reason.step or None) if response.HasField("reason") else None,
    )


def log_request(template_id: str, build_id: str, page: LinePage) -> TemplateStatusRequest:
    """A question for lines; the wire's end is inclusive."""
    request = TemplateStatusRequest(templateID=template_id, buildID=build_id, offset=page.offset, limit=page.limit)
    if page.min_level is not None:
        request.level = _TO_WIRE[page.min_level]
    if page.start_ns is not None:
        request.start.CopyFrom(_stamp(page.start_ns))
    if page.end_ns is not None:
        request.end.CopyFrom(_stamp(page.end_ns - 1))
    if page.newest_first:
        request.direction = LogsDirection.Backward
    return request


def read_line(entry: TemplateBuildLogEntry) -> BuildLine:
    """One line."""
    return BuildLine(entry.timestamp.ToNanoseconds(), _FROM_WIRE.get(entry.level, "info"), entry.message, dict(entry.fields))


def _stamp(at_ns: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(at_ns)
    return stamp
