"""Volumes in SQL (contract templates-and-data §3.1)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.volumes import Volume, too_many
from sandbank.db.models_accounts import Team
from sandbank.db.models_places import Volume as Row


def _volume(row: Row) -> Volume:
    return Volume(str(row.id), str(row.team_id), row.name, row.volume_type)


class VolumeRepo:
    """Implements `sandbank.api.core.volumes.VolumeRecords`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, volume: Volume, most: int) -> bool:
        """See `VolumeRecords.add`."""
        team_id = uuid.UUID(volume.team_id)
        row = Row(id=uuid.UUID(volume.volume_id), team_id=team_id, name=volume.name, volume_type=volume.kind)
        with translated():
            try:
                async with self._sessions.begin() as session:
                    # One after the other: by the team's row in PostgreSQL, in SQLite by being the one that writes.
                    await session.execute(select(Team.id).where(Team.id == team_id).with_for_update(key_share=True))
                    session.add(row)
                    await session.flush()
                    if (await session.scalar(select(func.count()).where(Row.team_id == team_id)) or 0) > most:
                        raise too_many(most)
            except IntegrityError:
                return False
        return True

    async def list(self, team_id: str) -> Sequence[Volume]:
        """By name."""
        with translated():
            async with self._sessions() as session:
                rows = await session.scalars(select(Row).where(Row.team_id == uuid.UUID(team_id)).order_by(Row.name))
                return [_volume(row) for row in rows]

    async def find(self, team_id: str, volume_id: str) -> Volume | None:
        """The team's volume of that ID."""
        with translated():
            async with self._sessions() as session:
                row = await session.get(Row, uuid.UUID(volume_id))
        return _volume(row) if row is not None and str(row.team_id) == team_id else None

    async def by_name(self, team_id: str, names: Sequence[str]) -> Mapping[str, Volume]:
        """Those that there are."""
        with translated():
            async with self._sessions() as session:
                rows = await session.scalars(select(Row).where(Row.team_id == uuid.UUID(team_id), Row.name.in_(names)))
                return {row.name: _volume(row) for row in rows}

    async def remove(self, team_id: str, volume_id: str) -> Volume | None:
        """What was removed."""
        condition = (Row.id == uuid.UUID(volume_id), Row.team_id == uuid.UUID(team_id))
        with translated():
            async with self._sessions.begin() as session:
                row = (await session.scalars(select(Row).where(*condition))).first()
                if row is None:
                    return None
                await session.execute(delete(Row).where(*condition))
                return _volume(row)
