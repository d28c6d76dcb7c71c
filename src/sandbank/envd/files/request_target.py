"""Whose file a request is about, and how a failure is told over REST."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

from sandbank.domain.errors import ExhaustedError, InvalidError, NotFoundError, SandbankError, UnauthenticatedError
from sandbank.envd.accounts import Account, find_account
from sandbank.envd.state import AgentState
from sandbank.envd.transport.connection import Handler
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

_STATUS: tuple[tuple[type[SandbankError], int], ...] = (
    (InvalidError, 400),
    (UnauthenticatedError, 401),
    (NotFoundError, 404),
    (ExhaustedError, 507),
)
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def requested_account(state: AgentState, request: Request) -> Account:
    """The account of the `username` parameter, else the default user."""
    return account_named(state, request.query.get("username"))


def account_named(state: AgentState, username: str | None) -> Account:
    """The account of that name, else the default user; `InvalidError` without either, `UnauthenticatedError` for an unknown one."""
    name = username or state.default_user
    if not name:
        raise InvalidError("error resolving username: username not provided")
    account = find_account(name)
    if account is None:
        raise UnauthenticatedError(f"error looking up user '{name}': user: unknown user {name}")
    return account


def told_over_rest(handler: Callable[[Request, Response], Awaitable[None]]) -> Handler:
    """`handler` with its errors as REST bodies; one that happens after the answer began cuts the connection."""

    async def guarded(request: Request, response: Response) -> None:
        try:
            await handler(request, response)
        except ConnectionError:
            raise
        except SandbankError as error:
            await _tell(response, next((status for kind, status in _STATUS if isinstance(error, kind)), 500), error.message)
        except OSError as error:
            await _tell(response, 500, str(error))

    async def _tell(response: Response, status: int, message: str) -> None:
        if not response.started:
            await response.send_error(status, message.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))

    return guarded
