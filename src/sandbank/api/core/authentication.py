"""Who sent a request (REST contract §3.1, §3.2). Message texts are the contract's: the scheme's own, a line break, the detail."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping

from sandbank.api.core.ports import Accounts
from sandbank.api.core.team import Team
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential
from sandbank.domain.development import CREDENTIAL_HASHES
from sandbank.domain.errors import InvalidError, NotFoundError, SandbankError, UnauthenticatedError

_API_KEY = "Invalid API key, please visit https://e2b.dev/docs/api-key for more information."
_ACCESS_TOKEN = "Invalid Access token, try to login again by running `e2b auth login`."  # noqa: S105  # a message
_BEARER = "Invalid auth provider token."
_ADMIN = "Invalid Access token."
_ADMIN_TEAM = "Invalid admin token teamID."


class Authenticator:
    """Turns credentials into teams and users. Without an `admin_token` nobody is an operator."""

    def __init__(self, accounts: Accounts, admin_token: str | None, *, allow_seeded: bool) -> None:
        self._accounts = accounts
        self._admin_token = admin_token
        self._refused: frozenset[str | None] = frozenset() if allow_seeded else CREDENTIAL_HASHES

    async def team(self, headers: Mapping[str, str]) -> Team:
        """The team that the request acts for, by API key or by an operator's word; `headers` are looked up in lower case.

        Of several schemes tried, the first one's failure is the answer.
        """
        failure: SandbankError | None = None
        try:
            if (key := headers.get("x-api-key")) is not None:
                return await self._by_key(key)
        except UnauthenticatedError as error:
            failure = error
        if headers.get("authorization") is not None and failure is None:
            failure = _bearer_failure(headers["authorization"])
        if (token := headers.get("x-admin-token")) is not None:
            try:
                return await self._by_operator(token, headers.get("x-team-id", ""))
            except SandbankError as error:
                failure = failure or error
        raise failure or UnauthenticatedError("authorization header is missing")

    async def user(self, headers: Mapping[str, str]) -> str:
        """The ID of the user whose access token it is."""
        header = headers.get("authorization")
        if header is None:
            raise UnauthenticatedError("authorization header is missing")
        if not header.startswith("Bearer "):
            raise UnauthenticatedError("authorization header is malformed")
        digest = hash_credential(header.removeprefix("Bearer ").strip(), ACCESS_TOKEN_PREFIX)
        if digest is None:
            raise UnauthenticatedError(f"{_ACCESS_TOKEN}\nInvalid access token format")
        user_id = None if digest in self._refused else await self._accounts.find_user_by_token(digest)
        if user_id is None:
            raise UnauthenticatedError(f"{_ACCESS_TOKEN}\nCannot get the user for the given access token")
        return user_id

    async def _by_key(self, key: str) -> Team:
        digest = hash_credential(key, API_KEY_PREFIX)
        if digest is None:
            raise UnauthenticatedError(f"{_API_KEY}\nInvalid API key format")
        team = None if digest in self._refused else await self._accounts.find_team_by_key(digest)
        if team is None:
            raise UnauthenticatedError(f"{_API_KEY}\nCannot get the team for the given API key")
        return team

    async def _by_operator(self, token: str, team_id: str) -> Team:
        if self._admin_token is None or not hmac.compare_digest(token.encode(), self._admin_token.encode()):
            raise UnauthenticatedError(f"{_ADMIN}\nInvalid Access token.")
        try:
            normalised = str(uuid.UUID(team_id))
        except ValueError as error:
            raise InvalidError(f"{_ADMIN_TEAM}\nInvalid team ID") from error
        team = await self._accounts.find_team(normalised)
        if team is None:
            raise NotFoundError(f"{_ADMIN_TEAM}\nTeam not found")
        return team


def _bearer_failure(header: str) -> UnauthenticatedError:
    if not header.startswith("Bearer "):
        return UnauthenticatedError("authorization header is malformed")
    # No identity provider is configured, so no bearer token can stand for a team.
    return UnauthenticatedError(f"{_BEARER}\nBackend authentication failed")
