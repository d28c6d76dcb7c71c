"""Asking for a build of a template: names, tags and limits are checked, and a waiting build is registered (templates contract §1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbank.api.core.team import Team
from sandbank.api.core.template_build import LATEST_VERSION, VERSION_1, BuildRecords, BuildRequest, RequestedBuild
from sandbank.api.core.template_resources import checked_ram_mb, checked_vcpu, granted_free_disk_mb
from sandbank.domain.errors import InvalidError
from sandbank.domain.template_reference import DEFAULT_TAG, TemplateReference, parse_tag, parse_template_reference


@dataclass(frozen=True, slots=True)
class BuildWish:
    """What a client asks for, as it said it. Sizes in MiB."""

    name: str | None
    tags: Sequence[str] = ()
    vcpu: int | None = None
    ram_mb: int | None = None
    free_disk_mb: int | None = None


@dataclass(frozen=True, slots=True)
class ImageWish:
    """What a client asks for that will push an image: everything is told now, nothing at the start (§1.1.3)."""

    dockerfile: str
    start_cmd: str | None = None
    ready_cmd: str | None = None
    user_id: str | None = None


def parse_name(team: Team, text: str) -> TemplateReference:
    """A name for a template of the team's own; `InvalidError`."""
    try:
        reference = parse_template_reference(text)
    except InvalidError as error:
        raise InvalidError(f"Invalid name: {error.message}") from error
    if reference.namespace not in (None, team.slug):
        raise InvalidError(f"namespace '{reference.namespace}' must match your team '{team.slug}'")
    return reference


def parse_tags(texts: Sequence[str]) -> list[str]:
    """Each tag once; `InvalidError`."""
    try:
        return list(dict.fromkeys(parse_tag(text) for text in texts))
    except InvalidError as error:
        raise InvalidError(f"Invalid tag: {error.message}") from error


class BuildRequester:
    """Registers builds."""

    def __init__(self, records: BuildRecords, forget_templates: Callable[[], None]) -> None:
        self._records = records
        self._forget_templates = forget_templates

    async def request(self, team: Team, wish: BuildWish) -> RequestedBuild:
        """A waiting build of the template that the team knows by this name, or of a new one. Errors as `BuildRecords.register`."""
        if not wish.name:
            raise InvalidError("Name is required")
        reference = parse_name(team, wish.name)
        return await self._register(team, _request(team, wish, reference, version=LATEST_VERSION))

    async def request_image(self, team: Team, wish: BuildWish, image: ImageWish, template_id: str | None = None) -> RequestedBuild:
        """A waiting build whose image comes through the registry: of that template of the team's, or of a new one (§1.1.3)."""
        reference = parse_name(team, wish.name) if wish.name else None
        request = _request(team, wish, reference, version=VERSION_1, template_id=template_id, image=image)
        return await self._register(team, request)

    async def _register(self, team: Team, request: BuildRequest) -> RequestedBuild:
        registered = await self._records.register(team, request)
        self._forget_templates()  # that there was none of this name may be remembered
        return registered


def _request(
    team: Team,
    wish: BuildWish,
    reference: TemplateReference | None,
    *,
    version: str,
    template_id: str | None = None,
    image: ImageWish | None = None,
) -> BuildRequest:
    named = [] if reference is None or reference.tag is None else parse_tags([reference.tag])
    return BuildRequest(
        tags=list(dict.fromkeys([*named, *parse_tags(wish.tags)])) or [DEFAULT_TAG],
        vcpu=checked_vcpu(team, wish.vcpu),
        ram_mb=checked_ram_mb(team, wish.ram_mb),
        free_disk_mb=granted_free_disk_mb(team, wish.free_disk_mb),
        version=version,
        template_id=template_id,
        alias=None if reference is None else reference.identifier,
        rebuilds=image is None,
        user_id=None if image is None else image.user_id,
        dockerfile=None if image is None else image.dockerfile,
        start_cmd=None if image is None else image.start_cmd,
        ready_cmd=None if image is None else image.ready_cmd,
    )
