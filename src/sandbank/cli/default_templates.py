"""The templates of an installation on one machine: losing them with the disk, and waiting for the one that greets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sandbank.api.adapters.default_template_repo import DefaultTemplateRepo
from sandbank.api.adapters.offered_templates import Offer, offered_templates
from sandbank.api.core.default_templates import DefaultTemplate
from sandbank.api.core.template_build import BuildState
from sandbank.artifacts.builds import BuildStore
from sandbank.cli.settings import NodeSettings
from sandbank.db.database import Database
from sandbank.db.seed import BASE_ALIAS
from sandbank.domain.errors import InternalError

_LOOK_SECONDS = 0.05
# All that takes long has been done before: packages are there, and only users and permissions are set.
_BASE_SECONDS = 300.0


def default_templates(settings: NodeSettings, revision: str) -> list[DefaultTemplate]:
    """Those of this installation, in the order in which they are built."""
    offer = Offer(settings.base_vcpu, settings.base_memory_mib, settings.base_disk_mib, settings.code_interpreter)
    return offered_templates(offer, revision)


class LostTemplates:
    """Has default templates built anew whose files are not there any more.

    Started when the node is, whose disk is mounted then, and before the API looks at what there is.
    """

    name = "lost-templates"

    def __init__(self, database_url: str, artifacts: Path, settings: NodeSettings) -> None:
        self._database_url = database_url
        self._builds = BuildStore(artifacts)
        self._settings = settings

    async def start(self) -> None:
        """Note what is lost."""
        database = Database(self._database_url)
        try:
            records = DefaultTemplateRepo(database.sessions)
            for template in default_templates(self._settings, ""):
                template_id, _ = await records.ensure(template.alias, template.description)
                newest = await records.newest(template_id)
                if newest is not None and newest[0].state is BuildState.READY and not self._has(newest[0].build_id):
                    await records.retire(newest[0].build_id, "its files are gone")
        finally:
            await database.close()

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
        template_id, _ = await records.ensure(BASE_ALIAS, None)
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
