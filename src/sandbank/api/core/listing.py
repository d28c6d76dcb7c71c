"""Listing a team's sandboxes (REST contract §8.4, §8.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sandbank.api.core.metadata_filter import matches
from sandbank.api.core.pagination import Cursor, in_order, page
from sandbank.api.core.ports import PausedQuery, Sandboxes, Snapshots, Templates
from sandbank.api.core.team import Team
from sandbank.domain.errors import InvalidError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState, public_state
from sandbank.domain.template_reference import parse_template_reference

STATES = frozenset({"running", "paused"})
_RUNNING = frozenset(state for state in SandboxState if public_state(state) == "running")


@dataclass(frozen=True, slots=True)
class ListSandboxes:
    """What a client wants to see."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    states: frozenset[str] = STATES
    ascending: bool = False
    started_after: datetime | None = None
    template: str | None = None
    after: Cursor | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SandboxPage:
    """One page; `total_running` counts all that match, and is absent where running ones were not asked for."""

    sandboxes: Sequence[Sandbox]
    following: Cursor | None
    total_running: int | None


class SandboxLister:
    """Lists sandboxes. Those being killed do not show; those being paused show once, as paused."""

    def __init__(self, sandboxes: Sandboxes, snapshots: Snapshots, templates: Templates) -> None:
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._templates = templates

    async def running(self, team: Team, metadata: Mapping[str, str]) -> Sequence[Sandbox]:
        """All that run, newest first."""
        query = ListSandboxes(metadata=metadata, states=frozenset({"running"}))
        return in_order(_matching(await self._sandboxes.list_team(team.team_id), query, None), ascending=False)

    async def page(self, team: Team, query: ListSandboxes) -> SandboxPage:
        """One page of what matches; `InvalidError` for a template with a tag."""
        wants_running = "running" in query.states
        template_id: str | None = None
        if query.template is not None:
            template_id = await self._template_id(team, query.template)
            if template_id is None:
                return SandboxPage([], None, 0 if wants_running else None)
        records = await self._sandboxes.list_team(team.team_id)
        found = _matching(records, query, template_id)
        running = len([sandbox for sandbox in found if sandbox.state in _RUNNING]) if wants_running else None
        if "paused" in query.states:
            found += await self._paused(team, query, template_id, {sandbox.sandbox_id for sandbox in records})
        rows, following = page(in_order(found, ascending=query.ascending), query.after, query.limit, ascending=query.ascending)
        return SandboxPage(rows, following, running)

    async def _paused(self, team: Team, query: ListSandboxes, template_id: str | None, active: set[str]) -> list[Sandbox]:
        """As many as a page can need and one more; sandboxes with a record are shown by that."""
        wanted = PausedQuery(query.metadata, query.started_after, template_id, query.after, query.ascending, query.limit + 1)
        found: list[Sandbox] = []
        while True:
            rows = await self._snapshots.list_team(team.team_id, wanted)
            found += [sandbox for sandbox in rows if sandbox.sandbox_id not in active]
            if len(rows) < wanted.limit or len(found) > query.limit:
                return found
            wanted = replace(wanted, after=Cursor(rows[-1].started_at, rows[-1].sandbox_id))

    async def _template_id(self, team: Team, text: str) -> str | None:
        try:
            reference = parse_template_reference(text)
        except InvalidError as error:
            raise InvalidError(f"Invalid template: {error.message}") from error
        if reference.tag is not None:
            raise InvalidError("Invalid template: tags are not supported here, use the template's name or ID")
        return await self._templates.find_template_id(team, reference)


def _matching(records: Sequence[Sandbox], query: ListSandboxes, template_id: str | None) -> list[Sandbox]:
    shown = {state for state in SandboxState if public_state(state) in query.states}
    # One filter after the other, and only those that are asked for: a team may have ten thousand.
    found = [sandbox for sandbox in records if sandbox.state in shown]
    if template_id is not None:
        found = [sandbox for sandbox in found if sandbox.template_id == template_id]
    if query.started_after is not None:
        found = [sandbox for sandbox in found if sandbox.started_at >= query.started_after]
    if query.metadata:
        found = [sandbox for sandbox in found if matches(sandbox.metadata, query.metadata)]
    return found
