"""Which template a caller means, and whose it is (templates contract §0.2, rest-api contract §4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sandbank.api.core.ports import Memberships
from sandbank.api.core.team import Team
from sandbank.api.core.team_selection import TeamSelector
from sandbank.domain.errors import DeniedError, InvalidError, NotFoundError
from sandbank.domain.template_reference import TemplateReference, parse_template_reference


@dataclass(frozen=True, slots=True)
class TemplateEntry:
    """A template, its builds left out. `source` is `template` or `snapshot_template`."""

    template_id: str
    team_id: str
    public: bool
    source: str


class TemplateDirectory(Protocol):
    """Templates by name and ID, whoever may use them. Deleted ones and what is behind paused sandboxes are not there."""

    async def find(self, template_id: str) -> TemplateEntry | None: ...

    async def find_named(self, slug: str, reference: TemplateReference) -> TemplateEntry | None:
        """In the namespace named, or else in that of the team with that slug, or else a promoted one; IDs are no names."""

    async def names(self, template_id: str) -> Sequence[str]: ...

    async def find_ready_build(self, template_id: str, reference: TemplateReference) -> str | None:
        """The build that the tag stands for."""

    async def set_public(self, template_id: str, public: bool) -> None: ...

    async def promote(self, template_id: str, slug: str) -> str | None:
        """Let everybody say its names of that namespace bare; the name that is another's, if one is."""


@dataclass(frozen=True, slots=True)
class TemplateCaller:
    """Who asks about a template. A user, unlike a team's key, says IDs and no names."""

    team: Team
    is_user: bool = False


class TemplateCallers:
    """The team that a user acts for."""

    def __init__(self, directory: TemplateDirectory, memberships: Memberships, selector: TeamSelector) -> None:
        self._directory = directory
        self._memberships = memberships
        self._selector = selector

    async def user(self, user_id: str, template_id: str | None, team_id: str | None = None) -> TemplateCaller:
        """For the template's team if it is one of the user's, else the one named, else the default one; errors of `TeamSelector`."""
        entry = None if template_id is None or team_id is not None else await self._directory.find(template_id)
        if entry is not None and entry.team_id in {one.team_id for one in await self._memberships.list_memberships(user_id)}:
            team_id = entry.team_id
        return TemplateCaller(await self._selector.select(user_id, team_id), is_user=True)


class TemplateOwnership:
    """Finds a caller's own templates."""

    def __init__(self, directory: TemplateDirectory) -> None:
        self._directory = directory

    async def own(self, caller: TemplateCaller, text: str) -> TemplateEntry:
        """By whatever it is called, a tag left out of account.

        `NotFoundError` where there is none, or only another team's of that name; `DeniedError` for the ID of another team's.
        """
        try:
            reference = parse_template_reference(text)
        except InvalidError as error:
            raise InvalidError(f"Invalid template ID: {error.message}") from error
        entry = None if caller.is_user else await self._directory.find_named(caller.team.slug, reference)
        if entry is not None and entry.team_id == caller.team.team_id:
            return entry
        by_id = None if reference.namespace is not None else await self._directory.find(reference.identifier)
        if by_id is None:
            raise NotFoundError(f"template '{reference.name}' not found")
        if by_id.team_id != caller.team.team_id:
            raise DeniedError(f"You don't have access to template '{by_id.template_id}'")
        return by_id

    async def named(self, team: Team, text: str) -> TemplateEntry:
        """What a name stands for, if that is the team's own, and where it has a tag a ready build, too.

        `NotFoundError` where it stands for nothing, `DeniedError` where it stands for another team's, `InvalidError`.
        """
        try:
            reference = parse_template_reference(text)
        except InvalidError as error:
            raise InvalidError(f"Invalid alias format: {error.message}") from error
        entry = await self.any(team, reference)
        if entry is None:
            raise NotFoundError(f"template '{reference.name}' not found")
        if entry.team_id != team.team_id:
            raise DeniedError("You don't have access to this template alias")
        if reference.tag is not None and await self._directory.find_ready_build(entry.template_id, reference) is None:
            raise NotFoundError(f"tag '{reference.tag}' does not exist for template '{reference.name}'")
        return entry

    async def any(self, team: Team, reference: TemplateReference) -> TemplateEntry | None:
        """In the order of resolution, whoever's it is."""
        named = await self._directory.find_named(team.slug, reference)
        if named is not None or reference.namespace is not None:
            return named
        return await self._directory.find(reference.identifier)
