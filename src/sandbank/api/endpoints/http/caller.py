"""Who calls: authentication comes before every other check, so that strangers learn nothing from validation."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from sandbank.api.core.authentication import Manager
from sandbank.api.core.operations import Operations
from sandbank.api.core.team import Team, require_allowed
from sandbank.domain.identifiers import parse_sandbox_id


def operations(request: Request) -> Operations:
    """What the application was built with."""
    wired: Operations = request.app.state.operations
    return wired


async def _team(request: Request) -> Team:
    team = await operations(request).authenticator.team(request.headers)
    require_allowed(team, request.method, request.scope["route"].path)
    return team


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
    require_allowed(manager.team, request.method, request.scope["route"].path)
    return manager


async def _operator(request: Request) -> None:
    operations(request).authenticator.operator(request.headers)


CallingTeam = Annotated[Team, Depends(_team)]
CallingUser = Annotated[str, Depends(_user)]
IdentifiedUser = Annotated[str, Depends(_identified_user)]
CallingMember = Annotated[Manager, Depends(_member)]
CallingManager = Annotated[Manager, Depends(_member_or_operator)]
CallingOperator = Annotated[None, Depends(_operator)]


def sandbox_id_of(parameter: str) -> str:
    """The bare ID in a path parameter, which comes as it was sent; `InvalidError` if it is none."""
    return parse_sandbox_id(unquote(parameter))
