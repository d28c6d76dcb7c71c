"""Builds of templates: what is asked for, what is known of one, and what came of it (templates contract §1.3–§1.5)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sandbank.api.core.team import Team

VERSION_1 = "v1.0.0"  # the image is pushed to the platform's registry
VERSION_2 = "v2.0.0"
LATEST_VERSION = "v2.1.0"


class BuildState(enum.Enum):
    """What clients call it. Whatever is neither of the first three has failed."""

    WAITING = "waiting"
    BUILDING = "building"
    READY = "ready"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class BuildReason:
    """Why a build failed; `step` is `base`, `finalize` or the number of a step, from 1."""

    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A build that may be registered: all of it is checked, but for what only the database knows. Sizes in MiB.

    Without a `template_id` it is of a new template, or, if it `rebuilds`, of the one that has its alias.
    """

    tags: Sequence[str]
    vcpu: int
    ram_mb: int
    free_disk_mb: int
    version: str
    template_id: str | None = None
    alias: str | None = None
    rebuilds: bool = True
    user_id: str | None = None
    dockerfile: str | None = None
    start_cmd: str | None = None
    ready_cmd: str | None = None


@dataclass(frozen=True, slots=True)
class RequestedBuild:
    """What its client is told."""

    template_id: str
    build_id: str
    public: bool
    aliases: Sequence[str]
    names: Sequence[str]
    tags: Sequence[str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Build:
    """A build. Sizes in MiB; `started_at` is when its state became what it is."""

    build_id: str
    template_id: str
    team_id: str
    state: BuildState
    is_startable: bool
    vcpu: int
    ram_mb: int
    free_disk_mb: int
    version: str
    created_at: datetime
    started_at: datetime
    start_cmd: str = ""
    ready_cmd: str = ""
    node_id: str | None = None
    reason: BuildReason | None = None


@dataclass(frozen=True, slots=True)
class BuilderMachine:
    """A node that builds, with what a build's row says of the processor it was made on."""

    node_id: str
    architecture: str = ""
    family: str = ""
    model: str = ""
    model_name: str = ""
    flags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BuildClaim:
    """What is noted of a build at its start. `recipe` is kept as JSON."""

    builder: BuilderMachine
    version: str
    start_cmd: str
    ready_cmd: str
    recipe: Any = None


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build became. Empty versions leave the row's."""

    disk_mb: int
    envd_version: str
    kernel_version: str = ""
    firecracker_version: str = ""


class BuildRecords(Protocol):
    """Builds, in SQL."""

    async def register(self, team: Team, request: BuildRequest) -> RequestedBuild:
        """A new waiting build; those of the template that still wait for a start and share a tag with it have failed (§1.3).

        `ExhaustedError` at the limit; `NotFoundError`, `DeniedError`, `ConflictError` for the template or the name.
        """

    async def find(self, build_id: str) -> Build | None: ...

    async def claim(self, build_id: str, claim: BuildClaim) -> Sequence[Build] | None:
        """Make a waiting build the caller's to start; None if somebody else has. The builds in progress that it supersedes have failed."""

    async def accept(self, build_id: str) -> bool:
        """Make a claimed build one in progress; False if it is nobody's any more."""

    async def fail(self, build_id: str, reason: BuildReason) -> bool:
        """Make an unfinished build a failed one; False if it was finished."""

    async def finish(self, build_id: str, result: BuildResult) -> bool:
        """Make a build in progress a ready one; False if it was not in progress."""

    async def list_unfinished(self, team_id: str | None = None) -> Sequence[Build]:
        """Those that wait or are in progress, the oldest first; of all teams without one."""
