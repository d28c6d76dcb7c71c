"""Snapshots that are templates: taken of a running sandbox, and listed (REST contract §9.1, §9.2)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.checkpoint import Checkpointer, Purpose
from sandbank.api.core.pagination import Cursor
from sandbank.api.core.ports import SnapshotNodes
from sandbank.api.core.team import Team
from sandbank.domain.errors import ConflictError, InternalError, InvalidError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.template_reference import DEFAULT_TAG, TemplateReference, parse_template_reference

_PURPOSE = Purpose(to_do="create snapshots", done="snapshotted", failed="Error creating snapshot template", with_volumes=False)


@dataclass(frozen=True, slots=True)
class SnapshotTemplate:
    """A snapshot as clients see it; `names` are without tags."""

    template_id: str
    names: Sequence[str]
    tag: str
    created_at: datetime

    @property
    def snapshot_id(self) -> str:
        """What a sandbox is made of it by."""
        return f"{self.names[0] if self.names else self.template_id}:{self.tag}"


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """What a snapshot is to be called in its team's namespace."""

    alias: str
    tag: str


@dataclass(frozen=True, slots=True)
class SnapshotQuery:
    """Which of a team's snapshots, newest first; with a `tag`, that one of the template that `reference` names."""

    sandbox_id: str | None = None
    reference: TemplateReference | None = None
    tag: str | None = None
    after: Cursor | None = None
    limit: int = 100


class SnapshotTemplateRecords(Protocol):
    """Snapshot templates, in SQL."""

    async def require_usable(self, team: Team, name: SnapshotName) -> None:
        """`InvalidError` if it is the name of a template that is no snapshot."""

    async def add(self, team: Team, sandbox: Sandbox, build_id: str, name: SnapshotName | None) -> SnapshotTemplate:
        """Note what was saved as that build: of the template that the team knows by this name, or of a new one.

        Errors as `require_usable`; `ConflictError` if somebody takes the name at the same time.
        """

    async def list(self, team: Team, query: SnapshotQuery) -> Sequence[SnapshotTemplate]: ...


def parse_snapshot_name(team: Team, text: str) -> SnapshotName:
    """What a client calls a snapshot that is to be taken; `InvalidError`."""
    reference = _parse(text)
    if reference.namespace not in (None, team.slug):
        raise InvalidError(f"namespace '{reference.namespace}' must match your team '{team.slug}'")
    if reference.build_id is not None:
        raise InvalidError(f"Invalid name: invalid tag: {reference.tag}")
    return SnapshotName(reference.identifier, reference.tag or DEFAULT_TAG)


def parse_snapshot_filter(text: str) -> tuple[TemplateReference, str | None]:
    """Whose snapshot is meant, and its tag if one is told, be it the default one."""
    reference = _parse(text)
    return reference, (reference.tag or DEFAULT_TAG) if ":" in text else None


def _parse(text: str) -> TemplateReference:
    try:
        return parse_template_reference(text)
    except InvalidError as error:
        raise InvalidError(f"Invalid name: {error.message}") from error


class SnapshotTemplates:
    """A team's snapshots."""

    def __init__(
        self,
        *,
        records: SnapshotTemplateRecords,
        checkpointer: Checkpointer,
        nodes: SnapshotNodes,
        tasks: TaskGroup,
    ) -> None:
        self._records = records
        self._checkpointer = checkpointer
        self._nodes = nodes
        self._tasks = tasks

    async def take(self, team: Team, sandbox_id: str, name: str | None, *, memory: bool = True) -> SnapshotTemplate:
        """A template to make sandboxes of that go on where this one is, which runs on. A cancelled caller does not stop it.

        Without `memory` they boot, with the files that it has now.

        `InvalidError` for the name, and what `Checkpointer.take` raises.
        """
        wanted = None if name is None else parse_snapshot_name(team, name)
        if wanted is not None:
            await self._records.require_usable(team, wanted)
        return await asyncio.shield(self._tasks.start("snapshot", self._take(team, sandbox_id, wanted, memory)))

    async def list(self, team: Team, query: SnapshotQuery) -> tuple[Sequence[SnapshotTemplate], Cursor | None]:
        """One page, and the cursor of its last if there are more."""
        found = await self._records.list(team, query)
        if len(found) <= query.limit:
            return found, None
        last = found[query.limit - 1]
        return found[: query.limit], Cursor(last.created_at, last.template_id)

    async def _take(self, team: Team, sandbox_id: str, name: SnapshotName | None, memory: bool) -> SnapshotTemplate:
        build_id = str(uuid.uuid4())
        sandbox = await self._checkpointer.take(team, sandbox_id, build_id, _PURPOSE, memory=memory)
        is_noted = False
        try:
            try:
                taken = await self._records.add(team, sandbox, build_id, name)
            except ConflictError:
                # Another sandbox's snapshot was the first of this name a moment ago: this is another build of it.
                taken = await self._records.add(team, sandbox, build_id, name)
            is_noted = True
        except ConflictError as error:
            raise InternalError(f"{_PURPOSE.failed}: {error.message}") from error
        finally:
            if not is_noted:
                self._nodes.discard(sandbox.node_id, build_id)
        return taken
