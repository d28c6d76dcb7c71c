"""Who sent a request (REST contract §3.1, §3.2). Message texts are the contract's: the scheme's own, a line break, the detail."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sandbank.api.core.ports import Callers, IdentityTokens
from sandbank.api.core.team import Team
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential
from sandbank.domain.development import CREDENTIAL_HASHES
from sandbank.domain.errors import InvalidError, NotFoundError, SandbankError, UnauthenticatedError
from sandbank.domain.uuid_text import parse_uuid

_API_KEY = "Invalid API key, please visit https://e2b.dev/docs/api-key for more information."
_ACCESS_TOKEN = "Invalid Access token, try to login again by running `e2b auth login`."  # noqa: S105  # a message
_BEARER = "Invalid auth provider token."
_BEARER_TEAM = "Invalid auth provider token teamID."
_ADMIN = "Invalid Access token."
_ADMIN_TEAM = "Invalid admin token teamID."
_FAILED = "Backend authentication failed"

Headers = Mapping[str, str]  # looked up in lower case
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manager:
    """A person, or an operator without a name, who acts for a team: more than an API key may."""

    team: Team
    user_id: str | None


class Authenticator:
    """Turns credentials into teams and users. Without an `admin_token` nobody is an operator, without `identities` no JWT is valid.

    Of several schemes tried, the first one that succeeds counts, and else the first one's failure is the answer.
    """

    def __init__(self, accounts: Callers, admin_token: str | None, *, allow_seeded: bool, identities: IdentityTokens | None = None) -> None:
        self._accounts = accounts
        # Digests have one length, so that comparing them tells nothing about the token's.
        self._admin_digest = None if admin_token is None else _digest(admin_token)
        self._refused: frozenset[str | None] = frozenset() if allow_seeded else CREDENTIAL_HASHES
        self._identities = identities

    async def team(self, headers: Headers) -> Team:
        """The team that the request acts for: by API key, as a member with an identity provider's token, or by an operator's word."""

        async def as_manager() -> Team:
            return (await self.manager(headers, operators=True)).team

        return await _first(
            [
                ("x-api-key" in headers, lambda: self._by_key(headers["x-api-key"])),
                ("authorization" in headers or "x-admin-token" in headers, as_manager),
            ]
        )

    async def manager(self, headers: Headers, *, operators: bool) -> Manager:
        """Who acts for a team by more than its key: a member, or an operator where they may."""
        team_id = headers.get("x-team-id", "")
        return await _first(
            [
                ("authorization" in headers, lambda: self._by_member(headers, team_id)),
                (operators and "x-admin-token" in headers, lambda: self._by_operator(headers, team_id)),
            ]
        )

    async def team_or_user(self, headers: Headers) -> Team | str:
        """As `team`, but a user's token alone stands for the user, by ID: which team they act for depends on what they ask about."""

        async def as_user() -> Team | str:
            known = await self.member_or_user(headers)
            return known if isinstance(known, str) else known.team

        return await _first(
            [
                ("x-api-key" in headers, lambda: self._by_key(headers["x-api-key"])),
                ("authorization" in headers, as_user),
                ("x-admin-token" in headers, lambda: self._by_operator_team(headers)),
            ]
        )

    async def member_or_user(self, headers: Headers) -> Manager | str:
        """A user's ID, or who acts for a team as its member: by an identity provider's token, the only kind that names a team."""
        if "x-team-id" in headers and not _bearer(headers).startswith(ACCESS_TOKEN_PREFIX):
            return await self._by_member(headers, headers["x-team-id"])
        return await self.user(headers)

    async def user(self, headers: Headers) -> str:
        """The ID of the user whose access token or identity it is."""
        token = _bearer(headers)
        if self._identities is not None and not token.startswith(ACCESS_TOKEN_PREFIX):
            try:
                return await self._user_of(token)
            except UnauthenticatedError:
                pass  # the access token is the first scheme here: its failure is the answer
        digest = hash_credential(token, ACCESS_TOKEN_PREFIX)
        if digest is None:
            raise UnauthenticatedError(f"{_ACCESS_TOKEN}\nInvalid access token format")
        user_id = None if digest in self._refused else await self._accounts.find_user_by_token(digest)
        if user_id is None:
            raise UnauthenticatedError(f"{_ACCESS_TOKEN}\nCannot get the user for the given access token")
        return user_id

    async def identified_user(self, headers: Headers) -> str:
        """The ID of the user whose identity the provider vouches for: access tokens do not count."""
        return await self._user_of(_bearer(headers))

    def operator(self, headers: Headers) -> None:
        """`UnauthenticatedError` unless an operator sent it."""
        if "x-admin-token" not in headers:
            raise UnauthenticatedError("authorization header is missing")
        given = _digest(headers["x-admin-token"])
        if self._admin_digest is None or not hmac.compare_digest(given, self._admin_digest):
            raise UnauthenticatedError(f"{_ADMIN}\nInvalid Access token.")

    async def _by_key(self, key: str) -> Team:
        digest = hash_credential(key, API_KEY_PREFIX)
        if digest is None:
            raise UnauthenticatedError(f"{_API_KEY}\nInvalid API key format")
        team = None if digest in self._refused else await self._accounts.find_team_by_key(digest)
        if team is None:
            raise UnauthenticatedError(f"{_API_KEY}\nCannot get the team for the given API key")
        return team

    async def _by_member(self, headers: Headers, team_id: str) -> Manager:
        user_id = await self._user_of(_bearer(headers))
        parsed = parse_uuid(team_id)
        team = None if parsed is None else await self._accounts.find_team_of_member(user_id, str(parsed))
        if team is None:
            raise UnauthenticatedError(f"{_BEARER_TEAM}\n{_FAILED}")
        return Manager(team, user_id)

    async def _by_operator(self, headers: Headers, team_id: str) -> Manager:
        self.operator(headers)
        parsed = parse_uuid(team_id)
        if parsed is None:
            raise InvalidError(f"{_ADMIN_TEAM}\nInvalid team ID")
        team = await self._accounts.find_team(str(parsed))
        if team is None:
            raise NotFoundError(f"{_ADMIN_TEAM}\nTeam not found")
        return Manager(team, None)

    async def _by_operator_team(self, headers: Headers) -> Team:
        return (await self._by_operator(headers, headers.get("x-team-id", ""))).team

    async def _user_of(self, token: str) -> str:
        failure = f"{_BEARER}\n{_FAILED}"
        if self._identities is None:
            raise UnauthenticatedError(failure)
        try:
            identity = await self._identities.verify(token)
        except UnauthenticatedError as error:
            raise UnauthenticatedError(failure) from error
        user_id = await self._accounts.find_user_by_identity(identity)
        if user_id is None:
            raise UnauthenticatedError(failure)
        return user_id


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _bearer(headers: Headers) -> str:
    header = headers.get("authorization")
    if header is None:
        raise UnauthenticatedError("authorization header is missing")
    if not header.startswith("Bearer "):
        raise UnauthenticatedError("authorization header is malformed")
    return header.removeprefix("Bearer ").strip()


async def _first(schemes: Sequence[tuple[bool, Callable[[], Awaitable[T]]]]) -> T:
    failure: SandbankError | None = None
    for is_attempted, attempt in schemes:
        if is_attempted:
            try:
                return await attempt()
            except SandbankError as error:
                failure = failure or error
    raise failure or UnauthenticatedError("authorization header is missing")
