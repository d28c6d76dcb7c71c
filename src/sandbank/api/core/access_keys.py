"""Keys of teams and tokens of users: made, named, taken away (REST contract §16.2, §16.3, §17)."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbank.api.core.team import Team
from sandbank.domain.credentials import Mask, new_access_token, new_api_key
from sandbank.domain.errors import InvalidError, NotFoundError
from sandbank.domain.uuid_text import parse_uuid

_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be seen of an API key."""

    key_id: str
    name: str
    mask: Mask
    created_at: datetime
    created_by: str | None
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What may be seen of an access token."""

    token_id: str
    name: str
    mask: Mask
    created_at: datetime


class CredentialStore(Protocol):
    """Where hashes of credentials are kept. What is deleted works nowhere in this process when the call returns."""

    async def list_keys(self, team_id: str) -> Sequence[ApiKey]: ...

    async def add_key(self, team_id: str, user_id: str | None, name: str, raw_key: str) -> ApiKey: ...

    async def rename_key(self, team_id: str, key_id: uuid.UUID, name: str) -> bool: ...

    async def delete_key(self, team_id: str, key_id: uuid.UUID) -> bool: ...

    async def list_tokens(self, user_id: str) -> Sequence[AccessToken]: ...

    async def add_token(self, user_id: str, name: str, raw_token: str) -> AccessToken: ...

    async def delete_token(self, user_id: str, token_id: uuid.UUID) -> bool: ...


def require_name(name: str) -> str:
    """The name without white space around it; `InvalidError` if it is empty, too long, or has characters that nobody sees."""
    stripped = name.strip()
    if not 0 < len(stripped) <= _NAME_LIMIT:
        raise InvalidError(f"Name must have 1 to {_NAME_LIMIT} characters")
    # Control characters, and those that turn the direction of a line around or take no room on it.
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in stripped):
        raise InvalidError("Name must not have invisible characters")
    return stripped


def require_id(text: str) -> uuid.UUID:
    """The ID of a key or token in a path."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise InvalidError("Error when parsing ID: it is no UUID")
    return parsed


class ApiKeys:
    """A team's API keys. Another team's do not exist."""

    def __init__(self, store: CredentialStore) -> None:
        self._store = store

    async def list(self, team: Team) -> Sequence[ApiKey]:
        """All of them, oldest first."""
        return await self._store.list_keys(team.team_id)

    async def create(self, team: Team, user_id: str | None, name: str) -> tuple[ApiKey, str]:
        """The key and its text, which nobody can learn again."""
        raw = new_api_key()
        return await self._store.add_key(team.team_id, user_id, require_name(name), raw), raw

    async def rename(self, team: Team, key_id: str, name: str) -> None:
        """`NotFoundError` if the team has no such key."""
        if not await self._store.rename_key(team.team_id, require_id(key_id), require_name(name)):
            raise NotFoundError("id not found")

    async def delete(self, team: Team, key_id: str) -> None:
        """The key is worth nothing when this returns. `NotFoundError` if the team has no such key."""
        if not await self._store.delete_key(team.team_id, require_id(key_id)):
            raise NotFoundError("id not found")


class AccessTokens:
    """A user's access tokens; `is_provisioned` says whether new ones are made at all."""

    def __init__(self, store: CredentialStore, *, is_provisioned: bool) -> None:
        self._store = store
        self.is_provisioned = is_provisioned

    async def create(self, user_id: str, name: str) -> tuple[AccessToken, str]:
        """The token and its text, which nobody can learn again."""
        raw = new_access_token()
        return await self._store.add_token(user_id, require_name(name), raw), raw

    async def delete(self, user_id: str, token_id: str) -> None:
        """The token is worth nothing when this returns. `NotFoundError` if the user has no such token."""
        if not await self._store.delete_token(user_id, require_id(token_id)):
            raise NotFoundError("id not found")
