"""Tags of templates: which build each stands for, now and before (rest-api contract §15, sdk-latest contract §1.5)."""

from __future__ import annotations

import base64
import binascii
import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbank.api.core.pagination import rfc3339
from sandbank.api.core.team import Team
from sandbank.api.core.template_directory import TemplateDirectory, TemplateEntry, TemplateOwnership
from sandbank.api.core.template_request import parse_tags
from sandbank.domain.errors import DeniedError, InvalidError, NotFoundError
from sandbank.domain.template_reference import DEFAULT_TAG, TemplateReference, parse_tag, parse_template_reference


@dataclass(frozen=True, slots=True)
class TagAssignment:
    """A tag pointing at a build, since `assigned_at`."""

    assignment_id: str
    tag: str
    build_id: str
    assigned_at: datetime
    build_created_at: datetime
    build_finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TagCursor:
    """The last of the page before: a time and what breaks ties, a tag or an assignment's ID."""

    at: datetime
    key: str


class TagOrder(enum.Enum):
    """How tags are sorted."""

    LATEST_DESC = "latest_desc"
    LATEST_ASC = "latest_asc"
    NAME_ASC = "name_asc"
    NAME_DESC = "name_desc"


@dataclass(frozen=True, slots=True)
class TagGroup:
    """A tag with its newest assignments."""

    tag: str
    latest_at: datetime
    assignments: Sequence[TagAssignment]
    has_more: bool


@dataclass(frozen=True, slots=True)
class TagQuery:
    """Which tags; `search` is part of their names."""

    limit: int
    assignments: int
    order: TagOrder = TagOrder.LATEST_DESC
    search: str = ""
    after: TagCursor | None = None


class TagRecords(Protocol):
    """Assignments, in SQL. All but `latest` see those of ready builds only."""

    async def assign(self, template_id: str, build_id: str, tags: Sequence[str]) -> None:
        """All or none; `NotFoundError` for a template that is deleted at this moment."""

    async def remove(self, template_id: str, tags: Sequence[str]) -> None: ...

    async def latest(self, template_id: str) -> Sequence[TagAssignment]:
        """The newest of each tag, by tag."""

    async def count(self, template_id: str) -> int: ...

    async def groups(self, template_id: str, query: TagQuery) -> Sequence[TagGroup]: ...

    async def assignments(self, template_id: str, tag: str, limit: int, after: TagCursor | None) -> Sequence[TagAssignment]:
        """Newest first."""


class TemplateTags:
    """Reads and changes tags; `on_change` hears of every name that means another build."""

    def __init__(self, records: TagRecords, directory: TemplateDirectory, on_change: Callable[[], None]) -> None:
        self._records = records
        self._directory = directory
        self._ownership = TemplateOwnership(directory)
        self._on_change = on_change

    async def assign(self, team: Team, target: str, tags: Sequence[str]) -> tuple[Sequence[str], str]:
        """Let each of the tags stand for the build that `target` does. `InvalidError`, `NotFoundError`, `DeniedError`."""
        wanted = parse_tags(tags)
        if not wanted:
            raise InvalidError("At least one tag is required")
        reference = _reference(target, "Invalid target template format")
        entry = await self._own(team, reference)
        build_id = await self._directory.find_ready_build(entry.template_id, reference)
        if build_id is None:
            raise NotFoundError(f"Template '{reference.name}' with tag '{reference.tag or DEFAULT_TAG}' not found")
        await self._records.assign(entry.template_id, build_id, wanted)
        self._on_change()
        return wanted, build_id

    async def remove(self, team: Team, name: str, tags: Sequence[str]) -> None:
        """Let none of the tags stand for anything; those that did not are no error. Errors as `assign`."""
        unwanted = parse_tags(tags)
        if not unwanted:
            raise InvalidError("At least one tag is required")
        if DEFAULT_TAG in unwanted:
            raise InvalidError(f"Cannot delete the '{DEFAULT_TAG}' tag")
        reference = _reference(name, "Invalid template name format")
        if ":" in name:
            raise InvalidError("Template name should not contain a tag, use the 'tags' field instead")
        entry = await self._own(team, reference)
        await self._records.remove(entry.template_id, unwanted)
        self._on_change()

    async def list(self, team: Team, text: str) -> Sequence[TagAssignment]:
        """The newest assignment of each tag."""
        entry = await self._own(team, _reference(text, "Invalid template ID"))
        return await self._records.latest(entry.template_id)

    async def count(self, team: Team, template_id: str) -> int:
        """How many tags stand for a ready build."""
        return await self._records.count((await self._visible(team, template_id)).template_id)

    async def exists(self, team: Team, template_id: str, text: str) -> tuple[str, bool]:
        """The tag as it is kept, and whether it stands for a ready build; `InvalidError`."""
        entry, tag = await self._visible(team, template_id), _tag(text)
        return tag, bool(await self._records.assignments(entry.template_id, tag, 1, None))

    async def groups(self, team: Team, template_id: str, query: TagQuery) -> tuple[Sequence[TagGroup], TagCursor | None]:
        """One page of tags, and the cursor of its last if there are more."""
        found = await self._records.groups((await self._visible(team, template_id)).template_id, query)
        following = TagCursor(found[query.limit - 1].latest_at, found[query.limit - 1].tag) if len(found) > query.limit else None
        return found[: query.limit], following

    async def assignments(
        self, team: Team, template_id: str, text: str, limit: int, after: TagCursor | None
    ) -> tuple[Sequence[TagAssignment], TagCursor | None]:
        """One page of a tag's assignments, newest first, and the cursor of its last if there are more; `InvalidError`."""
        entry, tag = await self._visible(team, template_id), _tag(text)
        found = await self._records.assignments(entry.template_id, tag, limit + 1, after)
        following = TagCursor(found[limit - 1].assigned_at, found[limit - 1].assignment_id) if len(found) > limit else None
        return found[:limit], following

    async def _own(self, team: Team, reference: TemplateReference) -> TemplateEntry:
        entry = await self._ownership.any(team, reference)
        if entry is None:
            raise NotFoundError(f"template '{reference.name}' not found")
        if entry.team_id != team.team_id:
            raise DeniedError(f"You don't have access to sandbox template '{reference.name}'")
        return entry

    async def _visible(self, team: Team, template_id: str) -> TemplateEntry:
        entry = await self._directory.find(template_id)
        if entry is None or entry.team_id != team.team_id:
            raise NotFoundError(f"Template {template_id} not found")
        return entry


def encode_tag_cursor(cursor: TagCursor, order: TagOrder) -> str:
    """The opaque text for the next page. Tags may have any separator in them."""
    return base64.urlsafe_b64encode(json.dumps([order.value, rfc3339(cursor.at), cursor.key]).encode()).decode()


def decode_tag_cursor(text: str, order: TagOrder) -> TagCursor:
    """What `encode_tag_cursor` made, for the same order; `InvalidError` for anything else."""
    try:
        made_for, at, key = json.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
        cursor = TagCursor(datetime.fromisoformat(at), key)
        if made_for != order.value or cursor.at.tzinfo is None or not isinstance(key, str):
            raise ValueError("of another list")
    except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError) as error:
        raise InvalidError("Invalid cursor") from error
    return cursor


def _reference(text: str, what: str) -> TemplateReference:
    try:
        return parse_template_reference(text)
    except InvalidError as error:
        raise InvalidError(f"{what}: {error.message}") from error


def _tag(text: str) -> str:
    try:
        return parse_tag(text)
    except InvalidError as error:
        raise InvalidError(f"Invalid tag: {error.message}") from error
