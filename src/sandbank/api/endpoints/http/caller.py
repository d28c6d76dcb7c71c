"""Who calls: authentication comes before every other check, so that strangers learn nothing from validation."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

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


CallingTeam = Annotated[Team, Depends(_team)]
CallingUser = Annotated[str, Depends(_user)]


def sandbox_id_of(parameter: str) -> str:
    """The bare ID in a path parameter, which comes as it was sent; `InvalidError` if it is none."""
    return parse_sandbox_id(unquote(parameter))
