"""Starting a registered build on a node that builds (templates contract §1.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.builders import Builders
from sandbank.api.core.ports import Templates
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import VERSION_1, Build, BuildClaim, BuildReason, BuildRecords
from sandbank.api.core.template_recipe import BuildBase, BuildOrder, BuildRecipe, require_sound
from sandbank.api.core.user_agent import build_version
from sandbank.domain.errors import DeniedError, InternalError, InvalidError, NotFoundError, SandbankError
from sandbank.domain.template_reference import parse_template_reference
from sandbank.domain.uuid_text import parse_uuid


class BuildStarter:
    """Starts builds: each of them once, whoever asks and however often."""

    def __init__(self, records: BuildRecords, builders: Builders, templates: Templates, tasks: TaskGroup) -> None:
        self._records = records
        self._builders = builders
        self._templates = templates
        self._tasks = tasks

    async def start(self, team: Team, template_id: str, build_id: str, recipe: BuildRecipe, user_agent: str = "") -> None:
        """In progress, or failed for a reason that its status tells, when this returns. A cancelled caller does not stop it.

        `InvalidError`, `NotFoundError`, `DeniedError`, `NoBuilderError` leave it waiting; `InternalError` when the builder refuses it.
        """
        build = await self._get(team, template_id, build_id)
        version = build_version(user_agent)
        require_sound(recipe)
        await self._begin(team, build, recipe, version, recipe.document())

    async def start_image(self, team: Team, template_id: str, build_id: str) -> None:
        """The same for a build whose image has been pushed: commands are known since it was asked for (§1.1.3)."""
        build = await self._get(team, template_id, build_id)
        recipe = BuildRecipe(image="", start_cmd=build.start_cmd, ready_cmd=build.ready_cmd, force=True)
        await self._begin(team, build, recipe, VERSION_1, None)

    async def _get(self, team: Team, template_id: str, build_id: str) -> Build:
        key = parse_uuid(build_id)
        if key is None:
            raise InvalidError(f"Invalid build ID: {build_id}")
        build = await self._records.find(str(key))
        if build is None or build.template_id != template_id:
            raise NotFoundError(f"Error when getting template: template '{template_id}' has no build '{key}'")
        if build.team_id != team.team_id:
            raise DeniedError("User does not have access to the template")
        if not build.is_startable:
            raise _not_waiting()
        return build

    async def _begin(self, team: Team, build: Build, recipe: BuildRecipe, version: str, document: object) -> None:
        machine = self._builders.choose(team.team_id)
        claim = BuildClaim(machine, version, recipe.start_cmd, recipe.ready_cmd, document)
        await asyncio.shield(self._tasks.start("build", self._run(team, build, recipe, claim)))

    async def _run(self, team: Team, build: Build, recipe: BuildRecipe, claim: BuildClaim) -> None:
        superseded = await self._records.claim(build.build_id, claim)
        if superseded is None:
            raise _not_waiting()
        self._discard(superseded)
        base = None
        if recipe.template:
            try:
                base = await self._resolve(team, recipe.template)
            except (NotFoundError, DeniedError, InvalidError) as error:
                await self._records.fail(build.build_id, BuildReason(error.message, "base"))
                return
        node_id = claim.builder.node_id
        order = BuildOrder(
            template_id=build.template_id,
            build_id=build.build_id,
            team_id=build.team_id,
            version=claim.version,
            vcpu=build.vcpu,
            ram_mb=build.ram_mb,
            free_disk_mb=build.free_disk_mb,
            recipe=recipe,
            base=base,
        )
        try:
            await self._builders.start(node_id, order)
        except SandbankError as error:
            self._builders.discard(node_id, build.template_id, build.build_id)
            await self._records.fail(build.build_id, BuildReason(f"error when building env: {error.message}"))
            raise InternalError(f"Error when starting template build: {error.message}", should_retry=False) from error
        if not await self._records.accept(build.build_id):
            self._builders.discard(node_id, build.template_id, build.build_id)  # superseded meanwhile

    async def _resolve(self, team: Team, text: str) -> BuildBase:
        template = await self._templates.get(team, parse_template_reference(text))
        return BuildBase(text, template.build_id)

    def _discard(self, builds: Sequence[Build]) -> None:
        for one in builds:
            if one.node_id is not None:
                self._builders.discard(one.node_id, one.template_id, one.build_id)


def _not_waiting() -> InvalidError:
    return InvalidError("build is not in waiting state")
