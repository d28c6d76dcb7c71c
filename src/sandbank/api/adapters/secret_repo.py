"""Secrets in SQL."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.team_secrets import Sealed, Secret, too_many
from sandbank.db.models_accounts import Team
from sandbank.db.models_secrets import Secret as Row

_AT_ONCE = 100


def _secret(row: Row) -> Secret:
    return Secret(row.id, str(row.team_id), row.name, row.current_version, row.labels, row.created_at, row.updated_at)


def _sealed(row: Row) -> Sealed:
    return Sealed(row.key_id, row.wrapped_key, row.sealed_value)


class SecretRepo:
    """Implements `sandbank.api.core.team_secrets.SecretRecords`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, secret: Secret, sealed: Sealed, most: int) -> bool:
        """See `SecretRecords.add`."""
        team_id = uuid.UUID(secret.team_id)
        row = Row(
            id=secret.key,
            team_id=team_id,
            name=secret.name,
            current_version=secret.version,
            labels=dict(secret.metadata),
            key_id=sealed.key_id,
            wrapped_key=sealed.wrapped_key,
            sealed_value=sealed.value,
            created_at=secret.created_at,
            updated_at=secret.updated_at,
        )
        with translated():
            try:
                async with self._sessions.begin() as session:
                    # One after the other, see `VolumeRepo.add`.
                    await session.execute(select(Team.id).where(Team.id == team_id).with_for_update(key_share=True))
                    session.add(row)
                    await session.flush()
                    if (await session.scalar(select(func.count()).where(Row.team_id == team_id)) or 0) > most:
                        raise too_many()
            except IntegrityError:
                return False
        return True

    async def page(self, team_id: str, after: uuid.UUID | None, limit: int) -> Sequence[Secret]:
        """By ID, thus by age."""
        query = select(Row).where(Row.team_id == uuid.UUID(team_id)).order_by(Row.id).limit(limit)
        with translated():
            async with self._sessions() as session:
                rows = await session.scalars(query if after is None else query.where(Row.id > after))
                return [_secret(row) for row in rows]

    async def find(self, team_id: str, key: uuid.UUID) -> Secret | None:
        """The team's secret of that key."""
        return await self._one(Row.id == key, Row.team_id == uuid.UUID(team_id))

    async def find_named(self, team_id: str, name: str) -> Secret | None:
        """The team's secret of that name."""
        return await self._one(Row.name == name, Row.team_id == uuid.UUID(team_id))

    async def sealed(self, team_id: str, names: Sequence[str]) -> Sequence[tuple[Secret, Sealed]]:
        """Those that there are."""
        with translated():
            async with self._sessions() as session:
                rows = await session.scalars(select(Row).where(Row.team_id == uuid.UUID(team_id), Row.name.in_(names)))
                return [(_secret(row), _sealed(row)) for row in rows]

    async def replace(self, secret: Secret, sealed: Sealed) -> bool:
        """See `SecretRecords.replace`."""
        changed = update(Row).where(
            Row.id == secret.key, Row.team_id == uuid.UUID(secret.team_id), Row.current_version == secret.version - 1
        )
        with translated():
            async with self._sessions.begin() as session:
                done = await session.execute(
                    changed.values(
                        current_version=secret.version,
                        labels=dict(secret.metadata),
                        key_id=sealed.key_id,
                        wrapped_key=sealed.wrapped_key,
                        sealed_value=sealed.value,
                        updated_at=secret.updated_at,
                    ).returning(Row.id)
                )
                return done.first() is not None

    async def remove(self, team_id: str, key: uuid.UUID) -> bool:
        """See `SecretRecords.remove`."""
        with translated():
            async with self._sessions.begin() as session:
                done = await session.execute(delete(Row).where(Row.id == key, Row.team_id == uuid.UUID(team_id)).returning(Row.id))
                return done.first() is not None

    async def wrapped_otherwise(self, key_id: str) -> AsyncIterator[tuple[Secret, Sealed]]:
        """All teams' secrets whose keys another key than this one has wrapped; what is rewrapped meanwhile comes once."""
        after = uuid.UUID(int=0)
        while True:
            with translated():
                async with self._sessions() as session:
                    query = select(Row).where(Row.key_id != key_id, Row.id > after).order_by(Row.id).limit(_AT_ONCE)
                    rows = list(await session.scalars(query))
            for row in rows:
                yield _secret(row), _sealed(row)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].id

    async def rewrap(self, secret: Secret, sealed: Sealed) -> bool:
        """Put this wrapping of the same value in the place of the old; False if the secret has changed since it was read."""
        condition = (Row.id == secret.key, Row.current_version == secret.version)
        with translated():
            async with self._sessions.begin() as session:
                statement = update(Row).where(*condition).values(key_id=sealed.key_id, wrapped_key=sealed.wrapped_key)
                return (await session.execute(statement.returning(Row.id))).first() is not None

    async def keys_in_use(self) -> frozenset[str]:
        """IDs of the installation's keys that some secret needs."""
        with translated():
            async with self._sessions() as session:
                return frozenset(await session.scalars(select(Row.key_id).distinct()))

    async def _one(self, *conditions: object) -> Secret | None:
        with translated():
            async with self._sessions() as session:
                row = (await session.scalars(select(Row).where(*conditions))).first()  # type: ignore[arg-type]  # SQL, not Python's booleans
        return None if row is None else _secret(row)
