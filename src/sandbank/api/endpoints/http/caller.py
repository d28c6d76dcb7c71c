"""Who calls: authentication comes before every other check, so that strangers learn nothing from validation."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from sandbank.api.core.authentication import Manager
from sandbank.api.core.operations import Operations
from sandbank.api.core.rate_limits import RateLimitedError, whole_seconds
from sandbank.api.core.team import Team, require_allowed
from sandbank.api.core.template_directory import TemplateCaller
from sandbank.api.endpoints.http.boundary import EXTRA_HEADERS
from sandbank.api.endpoints.http.errors import OLD_COMMAND_LINE
from sandbank.domain.errors import NotFoundError
from sandbank.domain.identifiers import parse_sandbox_id
from sandbank.domain.rate_limit import RateVerdict


def operations(request: Request) -> Operations:
    """What the application was built with."""
    wired: Operations = request.app.state.operations
    return wired


async def _team(request: Request) -> Team:
    team = await operations(request).authenticator.team(request.headers)
    await admit(request, team)
    return team


async def admit(request: Request, team: Team) -> None:
    """What a team may do, and how often (REST contract §1: limits come before the gate)."""
    route = request.scope["route"].path
    try:
        verdict = await operations(request).rate_limits.count(team, route)
    except RateLimitedError as error:
        _tell(request, error.verdict)
        raise
    if verdict is not None:
        _tell(request, verdict)
    require_allowed(team, request.method, route)


def _tell(request: Request, verdict: RateVerdict) -> None:
    # The outermost layer adds these to whatever the answer will be.
    request.scope[EXTRA_HEADERS] = [
        (b"ratelimit-limit", b"%d" % verdict.limit),
        (b"ratelimit-remaining", b"%d" % verdict.remaining),
        (b"ratelimit-reset", b"%d" % whole_seconds(verdict.reset_after_seconds)),
    ]


async def _user(request: Request) -> str:
    return await operations(request).authenticator.user(request.headers)


async def _identified_user(request: Request) -> str:
    return await operations(request).authenticator.identified_user(request.headers)


async def _member(request: Request) -> Manager:
    return await _manager(request, operators=False)


async def _member_or_operator(request: Request) -> Manager:
    return await _manager(request, operators=True)


async def _manager(request: Request, *, operators: bool) -> Manager:
    manager = await operations(request).authenticator.manager(request.headers, operators=operators)
    await admit(request, manager.team)
    return manager


async def _template_caller(request: Request) -> TemplateCaller:
    known = await operations(request).authenticator.team_or_user(request.headers)
    caller = await template_user(request, known, request.query_params.get("teamID")) if isinstance(known, str) else TemplateCaller(known)
    await admit(request, caller.team)
    return caller


async def _image_caller(request: Request) -> Manager | str:
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise NotFoundError(OLD_COMMAND_LINE)
    return await operations(request).authenticator.member_or_user(request.headers)


async def template_user(request: Request, user_id: str, team_id: str | None) -> TemplateCaller:
    """A user who asks about the template in the path, if there is one."""
    template_id = request.path_params.get("template_id")
    return await operations(request).template_callers.user(user_id, unquote(template_id) if template_id else None, team_id)


async def _operator(request: Request) -> None:
    operations(request).authenticator.operator(request.headers)


CallingTeam = Annotated[Team, Depends(_team)]
CallingUser = Annotated[str, Depends(_user)]
IdentifiedUser = Annotated[str, Depends(_identified_user)]
CallingMember = Annotated[Manager, Depends(_member)]
CallingManager = Annotated[Manager, Depends(_member_or_operator)]
TemplateCalling = Annotated[TemplateCaller, Depends(_template_caller)]
ImageCalling = Annotated[Manager | str, Depends(_image_caller)]
CallingOperator = Annotated[None, Depends(_operator)]


def sandbox_id_of(parameter: str) -> str:
    """The bare ID in a path parameter, which comes as it was sent; `InvalidError` if it is none."""
    return parse_sandbox_id(unquote(parameter))
