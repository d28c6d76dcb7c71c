"""API keys and access tokens in SQL: hashes and what of them may be shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.access_keys import AccessToken, ApiKey
from sandbank.db import models_accounts as models
from sandbank.db.base import utc_now
from sandbank.db.seed import access_token_row, api_key_row
from sandbank.domain.credentials import Mask


class AccountCredentials:
    """Implements `sandbank.api.core.access_keys.CredentialStore`. `on_revoked` makes caches forget before a deletion is acknowledged."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], on_revoked: Callable[[], None]) -> None:
        self._sessions = sessions
        self._on_revoked = on_revoked

    async def list_keys(self, team_id: str) -> Sequence[ApiKey]:
        """A team's keys, oldest first."""
        key = models.TeamApiKey
        query = select(key).where(key.team_id == uuid.UUID(team_id)).order_by(key.created_at, key.id)
        with translated():
            async with self._sessions() as session:
                return [_key(row) for row in await session.scalars(query)]

    async def add_key(self, team_id: str, user_id: str | None, name: str, raw_key: str) -> ApiKey:
        """Store a new key's hash."""
        row = api_key_row(raw_key, uuid.UUID(team_id), name, None if user_id is None else uuid.UUID(user_id))
        with translated():
            async with self._sessions.begin() as session:
                session.add(row)
        return _key(row)

    async def rename_key(self, team_id: str, key_id: uuid.UUID, name: str) -> bool:
        """Whether the team has that key."""
        key = models.TeamApiKey
        query = update(key).where(key.id == key_id, key.team_id == uuid.UUID(team_id)).values(name=name, updated_at=utc_now())
        with translated():
            async with self._sessions.begin() as session:
                return (await session.execute(query.returning(key.id))).first() is not None

    async def delete_key(self, team_id: str, key_id: uuid.UUID) -> bool:
        """Whether the team had that key."""
        key = models.TeamApiKey
        query = delete(key).where(key.id == key_id, key.team_id == uuid.UUID(team_id)).returning(key.id)
        with translated():
            async with self._sessions.begin() as session:
                found = (await session.execute(query)).first() is not None
        self._on_revoked()
        return found

    async def list_tokens(self, user_id: str) -> Sequence[AccessToken]:
        """A user's tokens, oldest first."""
        token = models.AccessToken
        query = select(token).where(token.user_id == uuid.UUID(user_id)).order_by(token.created_at, token.id)
        with translated():
            async with self._sessions() as session:
                return [_token(row) for row in await session.scalars(query)]

    async def add_token(self, user_id: str, name: str, raw_token: str) -> AccessToken:
        """Store a new token's hash."""
        row = access_token_row(raw_token, uuid.UUID(user_id), name)
        with translated():
            async with self._sessions.begin() as session:
                session.add(row)
        return _token(row)

    async def delete_token(self, user_id: str, token_id: uuid.UUID) -> bool:
        """Whether the user had that token."""
        token = models.AccessToken
        query = delete(token).where(token.id == token_id, token.user_id == uuid.UUID(user_id)).returning(token.id)
        with translated():
            async with self._sessions.begin() as session:
                found = (await session.execute(query)).first() is not None
        self._on_revoked()
        return found


def _key(row: models.TeamApiKey) -> ApiKey:
    return ApiKey(
        key_id=str(row.id),
        name=row.name,
        mask=Mask(row.api_key_prefix, row.api_key_length, row.api_key_mask_prefix, row.api_key_mask_suffix),
        created_at=row.created_at,
        created_by=None if row.created_by is None else str(row.created_by),
        last_used=row.last_used,
    )


def _token(row: models.AccessToken) -> AccessToken:
    mask = Mask(row.access_token_prefix, row.access_token_length, row.access_token_mask_prefix, row.access_token_mask_suffix)
    return AccessToken(str(row.id), row.name, mask, row.created_at)
