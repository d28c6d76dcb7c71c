"""Templates as their team lists them (rest-api contract §14.8–§14.10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sandbank.api.core.pagination import Cursor
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import BuildState
from sandbank.domain.errors import DeniedError, InvalidError, NotFoundError

MOST_LISTED = 5000
NO_BUILD = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class ListedTemplate:
    """A template with the newest ready build that has the default tag, or zeros. Sizes in MiB."""

    template_id: str
    team_id: str
    public: bool
    aliases: Sequence[str]
    names: Sequence[str]
    created_at: datetime
    updated_at: datetime
    build_state: BuildState
    build_id: str = NO_BUILD
    vcpu: int = 0
    ram_mb: int = 0
    disk_mb: int = 0
    envd_version: str = ""
    created_by: str | None = None
    last_spawned_at: datetime | None = None
    spawn_count: int = 0
    build_count: int = 0
    is_default: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ListedBuild:
    """One of a template's builds."""

    build_id: str
    state: BuildState
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    vcpu: int
    ram_mb: int
    disk_mb: int | None
    envd_version: str | None


class TemplateShelf(Protocol):
    """Templates and their builds, in SQL."""

    async def list_team(
        self, team_id: str, limit: int, *, after: Cursor | None = None, newest_first: bool = False
    ) -> Sequence[ListedTemplate]: ...

    async def list_defaults(self) -> Sequence[ListedTemplate]:
        """By ID."""

    async def find(self, template_id: str) -> ListedTemplate | None:
        """Snapshots, too."""

    async def list_builds(self, template_id: str, limit: int, after: Cursor | None) -> Sequence[ListedBuild]:
        """Newest first."""


class TemplateLister:
    """Lists templates."""

    def __init__(self, shelf: TemplateShelf) -> None:
        self._shelf = shelf

    async def list_all(self, team: Team) -> Sequence[ListedTemplate]:
        """The team's, oldest first; `InvalidError` for too many to be one answer."""
        found = await self._shelf.list_team(team.team_id, MOST_LISTED + 1)
        if len(found) > MOST_LISTED:
            raise InvalidError(f"your team has more than {MOST_LISTED} templates: use /v2/templates to page through them")
        return found

    async def list_page(self, team: Team, limit: int, after: Cursor | None) -> tuple[Sequence[ListedTemplate], Cursor | None]:
        """One page, newest first, and the cursor of its last if there are more."""
        found = await self._shelf.list_team(team.team_id, limit + 1, after=after, newest_first=True)
        if len(found) <= limit:
            return found, None
        return found[:limit], Cursor(found[limit - 1].created_at, found[limit - 1].template_id)

    async def list_defaults(self, team: Team) -> Sequence[ListedTemplate]:
        """What the installation offers; how much others use it is theirs to know."""
        found = [one for one in await self._shelf.list_defaults() if one.public or one.team_id == team.team_id]
        return [one if one.team_id == team.team_id else _without_usage(one) for one in found]

    async def get(
        self, team: Team, template_id: str, limit: int, after: Cursor | None
    ) -> tuple[ListedTemplate, Sequence[ListedBuild], Cursor | None]:
        """One by its ID, a page of its builds, newest first, and the cursor if there are more; `NotFoundError`, `DeniedError`."""
        found = await self._shelf.find(template_id)
        if found is None:
            raise NotFoundError(f"Template {template_id} not found")
        if found.team_id != team.team_id:
            raise DeniedError(f"You don't have access to this sandbox template ({template_id})")
        builds = await self._shelf.list_builds(template_id, limit + 1, after)
        following = Cursor(builds[limit - 1].created_at, builds[limit - 1].build_id) if len(builds) > limit else None
        return found, builds[:limit], following


def _without_usage(template: ListedTemplate) -> ListedTemplate:
    return replace(template, created_by=None, last_spawned_at=None, spawn_count=0, build_count=0)
