"""The templates that an installation offers to everybody, built as any other is (templates contract §1.15, §1.16)."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from sandbank.api.core.builders import Builders, UploadLink
from sandbank.api.core.ports import Accounts, Clock
from sandbank.api.core.template_build import LATEST_VERSION, Build, BuildRecords, BuildRequest, BuildState
from sandbank.api.core.template_recipe import BuildRecipe
from sandbank.api.core.template_start import BuildStarter
from sandbank.domain.errors import NotFoundError
from sandbank.domain.template_reference import DEFAULT_TAG

# Between asking for a build and starting it. Whoever took longer has ended.
_STARTED_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class DefaultFile:
    """An archive that a COPY step names by its hash."""

    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DefaultTemplate:
    """What is offered as `alias`. Sizes in MiB. `files` are put where the build is to run before it begins."""

    alias: str
    description: str
    recipe: BuildRecipe
    vcpu: int = 2
    ram_mb: int = 1024
    free_disk_mb: int = 10240
    files: tuple[DefaultFile, ...] = ()


class DefaultState(enum.Enum):
    """What has become of the newest build, if that is of the recipe wanted."""

    READY = "ready"
    BUILDING = "building"
    FAILED = "failed"


_STATES = {
    BuildState.READY: DefaultState.READY,
    BuildState.BUILDING: DefaultState.BUILDING,
    BuildState.ERROR: DefaultState.FAILED,
}


class DefaultRecords(Protocol):
    """Default templates, in SQL."""

    async def ensure(self, alias: str, description: str) -> tuple[str, str]:
        """The public template with that promoted name, made if need be: its ID, and its team's."""

    async def newest(self, template_id: str) -> tuple[Build, Any] | None:
        """Its newest build, with what is kept of its recipe."""


class DefaultTemplates:
    """Has default templates built, once for each recipe."""

    def __init__(
        self, records: DefaultRecords, builds: BuildRecords, builders: Builders, starter: BuildStarter, teams: Accounts, clock: Clock
    ) -> None:
        self._records = records
        self._builds = builds
        self._builders = builders
        self._starter = starter
        self._teams = teams
        self._clock = clock

    async def ensure(self, wanted: DefaultTemplate, *, retry: bool = False) -> DefaultState:
        """Start a build, unless the newest one is of this recipe already, and has not failed or is not to be tried again.

        Several APIs may do so at once: one build goes on. Errors as `BuildRecords.register` and `BuildStarter.start`.
        """
        template_id, team_id = await self._records.ensure(wanted.alias, wanted.description)
        newest = await self._records.newest(template_id)
        if newest is not None:
            build, document = newest
            if build.state is BuildState.WAITING:
                if not build.is_startable or self._clock() - build.created_at < _STARTED_WITHIN:
                    return DefaultState.BUILDING
            elif _is_of(build, document, wanted) and not (retry and build.state is BuildState.ERROR):
                return _STATES[build.state]
        team = await self._teams.find_team(team_id)
        if team is None:
            raise NotFoundError("a default template needs an owner: seed the installation first")
        # First of all, or there would be a build that waits for a node, or for files.
        node_id = self._builders.choose(team_id).node_id
        for file in wanted.files:
            await self._place(file, node_id, template_id, team_id)
        request = BuildRequest(
            tags=[DEFAULT_TAG],
            vcpu=wanted.vcpu,
            ram_mb=wanted.ram_mb,
            free_disk_mb=wanted.free_disk_mb,
            version=LATEST_VERSION,
            template_id=template_id,
        )
        requested = await self._builds.register(team, request)
        await self._starter.start(team, template_id, requested.build_id, wanted.recipe)
        return DefaultState.BUILDING

    async def _place(self, file: DefaultFile, node_id: str, template_id: str, team_id: str) -> None:
        offer = await self._builders.offer_upload(node_id, template_id, team_id, file.sha256)
        if not offer.present:
            sent = {name: values[0] for name, values in parse_qs(urlsplit(offer.url).query).items()}
            link = UploadLink(node_id, sent["path"], int(sent["expires"]), sent["token"])
            await self._builders.upload(link, len(file.content), _once(file.content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _is_of(build: Build, document: Any, wanted: DefaultTemplate) -> bool:
    sizes = (build.vcpu, build.ram_mb, build.free_disk_mb) == (wanted.vcpu, wanted.ram_mb, wanted.free_disk_mb)
    commands = (build.start_cmd, build.ready_cmd) == (wanted.recipe.start_cmd, wanted.recipe.ready_cmd)
    return sizes and commands and bool(document == wanted.recipe.document())
