"""What clients get about templates, as JSON schemas (templates contract §13, sdk-latest contract §1.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from sandbank.api.endpoints.http.document.answers import Answer, TeamUser

BuildStatus = Literal["waiting", "building", "ready", "error"]


class TemplateRequestResponseV3(Answer):
    """A build that was asked for."""

    template_id: str
    build_id: str
    public: bool
    aliases: list[str]
    names: list[str]
    tags: list[str]


class TemplateLegacy(Answer):
    """A template, as older clients read it."""

    template_id: str
    build_id: str
    cpu_count: int
    memory_mb: int
    disk_size_mb: int
    public: bool
    aliases: list[str]
    created_at: datetime
    updated_at: datetime
    created_by: TeamUser | None
    last_spawned_at: datetime | None
    spawn_count: int
    build_count: int
    envd_version: str


class Template(TemplateLegacy):
    """A template with its newest ready build."""

    names: list[str]
    build_status: BuildStatus
    is_default: bool = False
    description: str = ""


class TemplateBuild(Answer):
    """One of a template's builds."""

    build_id: UUID
    status: BuildStatus
    created_at: datetime
    updated_at: datetime
    cpu_count: int
    memory_mb: int
    finished_at: datetime = Field(default_factory=datetime.now)
    disk_size_mb: int = 0
    envd_version: str = ""


class TemplateWithBuilds(Template):
    """A template and a page of its builds."""

    builds: list[TemplateBuild]


class BuildLogEntry(Answer):
    """A line of a build's log."""

    timestamp: datetime
    message: str
    level: Literal["debug", "info", "warn", "error"]
    step: str = ""


class BuildStatusReason(Answer):
    """Why a build failed, with the lines that say so."""

    message: str
    step: str = ""
    log_entries: list[BuildLogEntry]


class TemplateBuildInfo(Answer):
    """A build's state and a page of its log."""

    template_id: str
    build_id: str
    status: BuildStatus
    logs: list[str]
    log_entries: list[BuildLogEntry]
    reason: BuildStatusReason | None = None


class TemplateBuildLogsResponse(Answer):
    """A page of a build's log."""

    logs: list[BuildLogEntry]


class TemplateBuildFileUpload(Answer):
    """Where an archive may be put."""

    present: bool
    url: str = ""


class TemplateAliasResponse(Answer):
    """What a name stands for."""

    template_id: str
    public: bool


class TemplateUpdateResponse(Answer):
    """A template's names."""

    names: list[str]


class AssignedTemplateTags(Answer):
    """Tags, and the build that they stand for now."""

    tags: list[str]
    build_id: UUID


class TemplateTag(Answer):
    """The newest assignment of a tag."""

    tag: str
    build_id: UUID
    created_at: datetime


class TemplateTagAssignment(Answer):
    """A tag pointing at a ready build, since a time."""

    assignment_id: UUID = Field(alias="assignmentId")
    build_id: UUID = Field(alias="buildId")
    assigned_at: datetime
    build_created_at: datetime
    build_finished_at: datetime | None


class TemplateTagAssignmentsResponse(Answer):
    """A page of a tag's assignments."""

    data: list[TemplateTagAssignment]
    next_cursor: str | None


class TemplateTagGroup(Answer):
    """A tag and its newest assignments."""

    tag: str
    assignments: list[TemplateTagAssignment]
    has_more: bool


class TemplateTagGroupsResponse(Answer):
    """A page of tags."""

    tags: list[TemplateTagGroup]
    next_cursor: str | None


class TemplateTagExistsResponse(Answer):
    """Whether a tag stands for a ready build."""

    exists: bool
    normalized_tag: str


class TemplateTagsCountResponse(Answer):
    """How many do."""

    total: int
