"""Deleting templates, snapshots among them, and changing whose they are to see (rest-api contract §9.3, §14.11, §14.12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sandbank.api.core.administration import NodeDirectory, NodeSandboxes
from sandbank.api.core.builders import Builders
from sandbank.api.core.ports import Sandboxes, SnapshotNodes
from sandbank.api.core.template_directory import TemplateCaller, TemplateDirectory, TemplateOwnership
from sandbank.domain.errors import ConflictError, InvalidError


class TemplateRemovals(Protocol):
    """Deleting, in SQL."""

    async def is_paused(self, template_id: str) -> bool:
        """Whether anybody's paused sandbox was made of it."""

    async def delete(self, template_id: str) -> Sequence[tuple[str, str]]:
        """Forget it and its names, and fail what is being built of it: for each build, the node that has it and its ID."""


class TemplateRemover:
    """Deletes templates that nothing was made of."""

    def __init__(
        self,
        *,
        removals: TemplateRemovals,
        directory: TemplateDirectory,
        sandboxes: Sandboxes,
        residents: NodeSandboxes,
        places: NodeDirectory,
        nodes: SnapshotNodes,
        builders: Builders,
    ) -> None:
        self._removals = removals
        self._ownership = TemplateOwnership(directory)
        self._sandboxes = sandboxes
        self._residents = residents
        self._places = places
        self._nodes = nodes
        self._builders = builders

    async def delete(self, caller: TemplateCaller, text: str) -> None:
        """Forget one of the caller's own by any of its names, whatever the tag; `InvalidError` while sandboxes made of it are there.

        Errors as `TemplateOwnership.own`. Nodes let go of what they have of it later.
        """
        entry = await self._ownership.own(caller, text)
        if await self._is_running(caller.team.team_id, entry.template_id):
            raise _in_use(entry.template_id, "running")
        if await self._removals.is_paused(entry.template_id):
            raise _in_use(entry.template_id, "paused")
        for node_id, build_id in await self._removals.delete(entry.template_id):
            if entry.source == "template":
                self._builders.discard(node_id, entry.template_id, build_id)
            else:
                self._nodes.discard(node_id, build_id)

    async def _is_running(self, team_id: str, template_id: str) -> bool:
        if any(sandbox.template_id == template_id for sandbox in await self._sandboxes.list_team(team_id)):
            return True
        for place in self._places.states():  # a public one may be anybody's
            if any(sandbox.template_id == template_id for sandbox in await self._residents.list_node(place.node_id)):
                return True
        return False


class TemplatePublisher:
    """Makes templates everybody's to use, or nobody else's again."""

    def __init__(self, directory: TemplateDirectory) -> None:
        self._directory = directory
        self._ownership = TemplateOwnership(directory)

    async def update(self, caller: TemplateCaller, text: str, public: bool | None, *, promote: bool = False) -> Sequence[str]:
        """The template's names. With `promote` a public one may be said without its team's namespace, too, as older clients expect.

        `ConflictError` where another has that name, but it is public all the same. Errors as `TemplateOwnership.own`.
        """
        entry = await self._ownership.own(caller, text)
        if public is not None:
            await self._directory.set_public(entry.template_id, public)
            taken = await self._directory.promote(entry.template_id, caller.team.slug) if public and promote else None
            if taken is not None:
                raise ConflictError(
                    f"Public template name '{taken}' is already taken. Your template is available at '{caller.team.slug}/{taken}'."
                    " Please update your CLI to remove this error message."
                )
        return await self._directory.names(entry.template_id)


def _in_use(template_id: str, state: str) -> InvalidError:
    return InvalidError(f"cannot delete template '{template_id}' because there are {state} sandboxes using it")
