"""The templates that an installation offers to everybody: what they are made of, and waiting for the one that greets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from sandbank.api.adapters.default_template_repo import DefaultTemplateRepo
from sandbank.api.core.default_templates import DefaultTemplate
from sandbank.api.core.template_build import BuildState
from sandbank.api.core.template_recipe import BuildRecipe, BuildStep
from sandbank.artifacts.builds import BuildStore
from sandbank.cli.settings import NodeSettings
from sandbank.code_interpreter import recipe
from sandbank.db.database import Database
from sandbank.db.seed import BASE_ALIAS
from sandbank.domain.errors import InternalError
from sandbank.template_manager.adapters.uploaded_files import UploadedFiles
from sandbank.template_manager.wiring import BASE_IMAGE

_BASE_DESCRIPTION = "Debian with Python, Node.js and the usual tools"
_INTERPRETER_DESCRIPTION = "Kernels for the code interpreter, with pandas and matplotlib, warm"
_MOST_FILES_BYTES = 64 << 20
_LOOK_SECONDS = 0.05
# All that takes long has been done before: packages are there, and only users and permissions are set.
_BASE_SECONDS = 300.0


def base_template(settings: NodeSettings, revision: str) -> DefaultTemplate:
    """`base`; another `revision` of what it is made of has it built anew."""
    return DefaultTemplate(
        alias=BASE_ALIAS,
        description=_BASE_DESCRIPTION,
        recipe=BuildRecipe(image=BASE_IMAGE, revision=revision),
        vcpu=settings.base_vcpu,
        ram_mb=settings.base_memory_mib,
        free_disk_mb=settings.base_disk_mib,
    )


def default_templates(settings: NodeSettings, revision: str) -> list[DefaultTemplate]:
    """Those of this installation, in the order in which they are built."""
    base = base_template(settings, revision)
    if settings.code_interpreter == "off":
        return [base]
    made = recipe.recipe(recipe.Profile(settings.code_interpreter))
    steps = [BuildStep(step.type, step.args, files_hash=None if step.files is None else step.files.sha256) for step in made.steps]
    interpreter = DefaultTemplate(
        alias=recipe.NAME,
        description=_INTERPRETER_DESCRIPTION,
        recipe=BuildRecipe(
            image=made.from_image,
            steps=steps,
            start_cmd=made.start_command,
            ready_cmd=made.ready_command,
            revision=revision,
        ),
        vcpu=made.cpu_count,
        ram_mb=made.memory_mib,
        free_disk_mb=settings.base_disk_mib,
    )
    return [base, interpreter]


class DefaultFiles:
    """Has what default templates are built from on this node, and has those built anew whose files are not there any more.

    Started when the node is, whose disk is mounted then, and before the API looks at what there is.
    """

    name = "default-files"

    def __init__(self, database_url: str, artifacts: Path, settings: NodeSettings) -> None:
        self._database_url = database_url
        self._builds = BuildStore(artifacts)
        self._files = UploadedFiles(artifacts, _MOST_FILES_BYTES)
        self._settings = settings

    async def start(self) -> None:
        """Put files in place, and note what is lost."""
        database = Database(self._database_url)
        try:
            records = DefaultTemplateRepo(database.sessions)
            for template in default_templates(self._settings, ""):
                template_id, team_id = await records.ensure(template.alias, template.description)
                newest = await records.newest(template_id)
                if newest is not None and newest[0].state is BuildState.READY and not self._has(newest[0].build_id):
                    await records.retire(newest[0].build_id, "its files are gone")
                if template.alias == recipe.NAME:
                    await self._place_files(team_id)
        finally:
            await database.close()

    async def _place_files(self, team_id: str) -> None:
        for step in recipe.recipe(recipe.Profile(self._settings.code_interpreter)).steps:
            if step.files is not None and self._files.find(team_id, step.files.sha256) is None:
                content = step.files.content
                await self._files.write(team_id, step.files.sha256, len(content), _once(content))

    def _has(self, build_id: str) -> bool:
        try:
            return self._builds.find(build_id) is not None
        except InternalError:  # some of them
            return False

    async def wait(self) -> None:
        """Nothing of it runs on."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing to do."""


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


class BaseReady:
    """Started last: it has when `base` can be used."""

    name = "base-template"

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def start(self) -> None:
        """Wait for a build under way; one of an earlier release is good enough if that fails. `InternalError` when there is none."""
        database = Database(self._database_url)
        try:
            async with asyncio.timeout(_BASE_SECONDS):
                await self._wait(DefaultTemplateRepo(database.sessions))
        except TimeoutError:
            raise InternalError(f"the base template was not built within {_BASE_SECONDS:.0f} seconds") from None
        finally:
            await database.close()

    async def _wait(self, records: DefaultTemplateRepo) -> None:
        template_id, _ = await records.ensure(BASE_ALIAS, _BASE_DESCRIPTION)
        while True:
            newest = await records.newest(template_id)
            if newest is not None and newest[0].state is BuildState.READY:
                return
            if newest is not None and newest[0].state is BuildState.ERROR:
                if await records.has_ready(template_id):
                    return
                reason = newest[0].reason
                raise InternalError(f"the base template could not be built: {'no reason is known' if reason is None else reason.message}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def wait(self) -> None:
        """Nothing of it runs on."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing to do."""
