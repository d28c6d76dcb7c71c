"""What clients get, as JSON schemas (rest-api contract §8–§17). Only the document is made of these: answers are built by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _wire_name(field: str) -> str:
    # The wire writes abbreviations in capitals.
    words = field.split("_")
    name = to_camel(field)
    if words[-1] in ("id", "mb", "cpu") and len(words) > 1:
        name = name[: -len(words[-1])] + words[-1].upper()
    return name


class Answer(BaseModel):
    """Fields without a default are always there."""

    model_config = ConfigDict(alias_generator=_wire_name, populate_by_name=True)


class Error(Answer):
    """Every error's body; `code` is the status."""

    code: int
    message: str
    error_code: str | None = Field(None, alias="error_code")


class _Sandbox(Answer):
    template_id: str
    sandbox_id: str
    client_id: str
    envd_version: str
    alias: str = ""


class Sandbox(_Sandbox):
    """Answer to create and connect."""

    envd_access_token: str = ""
    traffic_access_token: str | None
    domain: str | None


class SandboxVolumeMount(Answer):
    """A volume in a sandbox."""

    name: str
    path: str


class ListedSandbox(_Sandbox):
    """An element of the lists."""

    started_at: datetime
    end_at: datetime
    cpu_count: int
    memory_mb: int
    disk_size_mb: int
    state: Literal["running", "paused"]
    volume_mounts: list[SandboxVolumeMount]
    metadata: dict[str, str] = {}


class Lifecycle(Answer):
    """What happens at a sandbox's end."""

    auto_resume: bool
    on_timeout: Literal["kill", "pause"]


class SandboxDetail(ListedSandbox):
    """One sandbox."""

    envd_access_token: str = ""
    allow_internet_access: bool | None
    domain: str | None
    lifecycle: Lifecycle
    pause_mode: Literal["full", "filesystem"] = "full"
    network: dict[str, Any] = {}


class SandboxMetric(Answer):
    """One point; sizes in bytes."""

    timestamp: datetime
    timestamp_unix: int
    cpu_count: int
    cpu_used_pct: float
    mem_used: int
    mem_total: int
    mem_cache: int
    disk_used: int
    disk_total: int


class SandboxesWithMetrics(Answer):
    """The newest point of each sandbox."""

    sandboxes: dict[str, SandboxMetric]


class TeamMetric(Answer):
    """One point of a team."""

    timestamp: datetime
    timestamp_unix: int
    concurrent_sandboxes: int
    sandbox_start_rate: float


class MaxTeamMetric(Answer):
    """The highest value of a range."""

    timestamp: datetime
    timestamp_unix: int
    value: float


class SandboxLog(Answer):
    """A line, itself JSON."""

    timestamp: datetime
    line: str


class SandboxLogEntry(Answer):
    """A line, read."""

    timestamp: datetime
    level: Literal["debug", "info", "warn", "error"]
    message: str
    fields: dict[str, str]


class SandboxLogs(Answer):
    """Both ways of looking at the same lines."""

    logs: list[SandboxLog]
    log_entries: list[SandboxLogEntry]


class SandboxLogsV2(Answer):
    """One page."""

    logs: list[SandboxLogEntry]


class SandboxForkResult(Answer):
    """One of the forks that were asked for: it, or what kept it from starting."""

    sandbox: Sandbox | None = None
    error: Error | None = None


class SnapshotInfo(Answer):
    """A snapshot."""

    snapshot_id: str
    names: list[str]


class Team(Answer):
    """A team of a user's, with a new key to it."""

    team_id: UUID
    name: str
    api_key: str
    is_default: bool


class Mask(Answer):
    """What is shown of a key."""

    prefix: str
    value_length: int
    masked_value_prefix: str
    masked_value_suffix: str


class TeamUser(Answer):
    """Who made a key."""

    id: UUID
    email: str | None


class TeamAPIKey(Answer):
    """A key, masked."""

    id: UUID
    name: str
    mask: Mask
    created_at: datetime
    created_by: TeamUser | None
    last_used: datetime | None


class CreatedTeamAPIKey(TeamAPIKey):
    """A new key, told once."""

    key: str


class CreatedAccessToken(Answer):
    """A new token, told once."""

    id: UUID
    name: str
    token: str
    mask: Mask
    created_at: datetime


class MachineInfo(Answer):
    """A node's processor."""

    cpu_family: str
    cpu_model: str
    cpu_model_name: str
    cpu_architecture: str


class DiskMetrics(Answer):
    """A node's file system."""

    mount_point: str
    device: str
    filesystem_type: str
    used_bytes: int
    total_bytes: int


class NodeMetrics(Answer):
    """What a node carries."""

    allocated_cpu: int
    cpu_percent: int
    cpu_count: int
    allocated_memory_bytes: int
    memory_used_bytes: int
    memory_total_bytes: int
    huge_pages_total: int
    huge_pages_used: int
    huge_pages_reserved: int
    huge_page_size_bytes: int
    disks: list[DiskMetrics]


class NodeDetail(Answer):
    """One node."""

    version: str
    commit: str
    id: str
    service_instance_id: str
    cluster_id: UUID
    machine_info: MachineInfo
    status: Literal["ready", "draining", "connecting", "unhealthy", "standby"]
    status_changed_at: datetime
    sandbox_count: int
    metrics: NodeMetrics
    create_successes: int
    create_fails: int


class Node(NodeDetail):
    """An element of the list."""

    sandbox_starting_count: int


class AdminSandboxKillResult(Answer):
    """What came of killing all of a team's sandboxes."""

    killed_count: int
    failed_count: int


class AdminBuildCancelResult(Answer):
    """What came of cancelling all of a team's builds."""

    cancelled_count: int
    failed_count: int


class Volume(Answer):
    """A volume."""

    volume_id: str
    name: str


class VolumeAndToken(Volume):
    """A volume with a token for its files."""

    token: str


class Secret(Answer):
    """A secret without its value."""

    secret_id: str
    name: str
    current_version: int
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class IdentityDiscovery(Answer):
    """OpenID Connect Discovery, as far as it is about workload tokens."""

    model_config = ConfigDict(alias_generator=None)

    issuer: str
    jwks_uri: str
    response_types_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]


class IdentityKeys(Answer):
    """RFC 7517."""

    keys: list[dict[str, str]]


class VolumeEntryStat(Answer):
    """Something in a volume; `path` is absolute there."""

    name: str
    type: Literal["unknown", "file", "directory", "symlink"]
    path: str
    size: int
    mode: int
    uid: int
    gid: int
    atime: datetime
    mtime: datetime
    ctime: datetime
    target: str = ""


class VolumeContentError(Answer):
    """An error of the files' routes; `code` is a word, or a status where it did not come to them."""

    code: str | int
    message: str
