"""What clients get about templates (templates contract §13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbank.api.core.builders import BuildLine
from sandbank.api.core.pagination import rfc3339
from sandbank.api.core.template_build import VERSION_1, BuildState, RequestedBuild
from sandbank.api.core.template_listing import ListedBuild, ListedTemplate
from sandbank.api.core.template_status import BuildStatus
from sandbank.api.core.template_tags import TagAssignment
from sandbank.domain.log_record import LEVELS, rfc3339_nano

_GRAVE = LEVELS[LEVELS.index("warn") :]


def listed(template: ListedTemplate) -> dict[str, Any]:
    """`Template`."""
    shape: dict[str, Any] = {
        "templateID": template.template_id,
        "buildID": template.build_id,
        "cpuCount": template.vcpu,
        "memoryMB": template.ram_mb,
        "diskSizeMB": template.disk_mb,
        "public": template.public,
        "aliases": list(template.aliases),
        "names": list(template.names),
        "createdAt": rfc3339(template.created_at),
        "updatedAt": rfc3339(template.updated_at),
        "createdBy": None if template.created_by is None else {"id": template.created_by, "email": None},
        "lastSpawnedAt": None if template.last_spawned_at is None else rfc3339(template.last_spawned_at),
        "spawnCount": template.spawn_count,
        "buildCount": template.build_count,
        "envdVersion": template.envd_version,
        "buildStatus": template.build_state.value,
        "isDefault": template.is_default,
    }
    if template.description is not None:
        shape["description"] = template.description
    return shape


def build(one: ListedBuild) -> dict[str, Any]:
    """`TemplateBuild`: what there is not yet is left out."""
    shape: dict[str, Any] = {
        "buildID": one.build_id,
        "status": one.state.value,
        "createdAt": rfc3339(one.created_at),
        "updatedAt": rfc3339(one.updated_at),
        "cpuCount": one.vcpu,
        "memoryMB": one.ram_mb,
    }
    if one.finished_at is not None:
        shape["finishedAt"] = rfc3339(one.finished_at)
    if one.disk_mb is not None:
        shape["diskSizeMB"] = one.disk_mb
    if one.envd_version is not None:
        shape["envdVersion"] = one.envd_version
    return shape


def requested(made: RequestedBuild) -> dict[str, Any]:
    """`TemplateRequestResponseV3`."""
    return {
        "templateID": made.template_id,
        "buildID": made.build_id,
        "public": made.public,
        "aliases": list(made.aliases),
        "names": list(made.names),
        "tags": list(made.tags),
    }


def requested_legacy(made: RequestedBuild) -> dict[str, Any]:
    """`TemplateLegacy`: of the rest nothing is known yet (§1.1.3)."""
    return {
        "templateID": made.template_id,
        "buildID": made.build_id,
        "cpuCount": 0,
        "memoryMB": 0,
        "diskSizeMB": 0,
        "public": made.public,
        "aliases": list(made.aliases),
        "createdAt": rfc3339(made.created_at),
        "updatedAt": rfc3339(made.updated_at),
        "createdBy": None,
        "lastSpawnedAt": None,
        "spawnCount": 0,
        "buildCount": 0,
        "envdVersion": "",
    }


def requested_image(made: RequestedBuild) -> dict[str, Any]:
    """`Template`, as the oldest clients get it."""
    return requested_legacy(made) | {"names": list(made.names), "buildStatus": BuildState.WAITING.value}


def line(one: BuildLine) -> dict[str, Any]:
    """`BuildLogEntry`."""
    shape = {"timestamp": rfc3339_nano(one.timestamp_ns), "message": one.message, "level": one.level}
    return shape if one.step is None else shape | {"step": one.step}


def status(found: BuildStatus) -> dict[str, Any]:
    """`TemplateBuildInfo`. Only the oldest clients read `logs`; a build is done, failed or not, before it has a reason."""
    known, lines = found.build, found.lines
    shape: dict[str, Any] = {
        "templateID": known.template_id,
        "buildID": known.build_id,
        "status": known.state.value,
        "logs": [_text(one) for one in lines] if known.version == VERSION_1 else [],
        "logEntries": [line(one) for one in lines],
    }
    if known.state is BuildState.ERROR and known.reason is not None:
        shape["reason"] = {"message": known.reason.message, "logEntries": _told(lines, known.reason.step)}
        if known.reason.step is not None:
            shape["reason"]["step"] = known.reason.step
    return shape


def tag(one: TagAssignment) -> dict[str, Any]:
    """`TemplateTag`."""
    return {"tag": one.tag, "buildID": one.build_id, "createdAt": rfc3339(one.assigned_at)}


def assignment(one: TagAssignment) -> dict[str, Any]:
    """`TemplateTagAssignment`."""
    return {
        "assignmentId": one.assignment_id,
        "buildId": one.build_id,
        "assignedAt": rfc3339(one.assigned_at),
        "buildCreatedAt": rfc3339(one.build_created_at),
        "buildFinishedAt": None if one.build_finished_at is None else rfc3339(one.build_finished_at),
    }


def _text(one: BuildLine) -> str:
    return f"[{rfc3339_nano(one.timestamp_ns)[:19]}Z] {one.message}\n"


def _told(lines: Sequence[BuildLine], step: str | None) -> list[dict[str, Any]]:
    return [line(one) for one in lines if one.level in _GRAVE and one.step == step]
