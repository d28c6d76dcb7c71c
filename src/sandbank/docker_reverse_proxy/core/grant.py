"""Giving out a token (contract templates-and-data §1.1.2, token handler)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbank.docker_reverse_proxy.core.credentials import parse_password
from sandbank.docker_reverse_proxy.core.ports import PushRights, UpstreamTokens
from sandbank.docker_reverse_proxy.core.scope import parse_scope
from sandbank.docker_reverse_proxy.core.tokens import Tokens
from sandbank.domain.errors import DeniedError, UnauthenticatedError

_EXPIRES_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and what its client is told of its life; no `template_id` where it is for the login check alone."""

    token: str = field(repr=False)
    expires_seconds: int
    template_id: str


class TokenGranter:
    """Checks who asks and for what."""

    def __init__(self, rights: PushRights, upstream: UpstreamTokens, tokens: Tokens) -> None:
        self._rights = rights
        self._upstream = upstream
        self._tokens = tokens

    async def grant(self, authorization: str, scopes: Sequence[str]) -> Grant:
        """A token for the template in the first scope; without any, one for the login check.

        `InvalidError`: not what Docker sends. `UnauthenticatedError`: no such access token. `DeniedError`: not for this template now.
        `UnavailableError`: the database or the upstream registry does not answer.
        """
        user_id = await self._rights.find_user(parse_password(authorization))
        if user_id is None:
            raise UnauthenticatedError("invalid access token")
        if not scopes:
            return Grant(self._tokens.issue(""), _EXPIRES_SECONDS, "")
        template_id = parse_scope(scopes)
        if not await self._rights.may_push(user_id, template_id):
            raise DeniedError("no build of this template waits for an image of this user")
        expires_seconds = await self._upstream.prepare(template_id)
        return Grant(self._tokens.issue(template_id), expires_seconds or _EXPIRES_SECONDS, template_id)
