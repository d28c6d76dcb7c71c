"""Deleting templates in SQL: marked as deleted, since their IDs are never given again (templates contract §1.11, §12.3.12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.adapters.template_build_rows import fail_build
from sandbank.api.core.template_build import BuildReason
from sandbank.db.base import utc_now
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment, Snapshot

_CANCELLED = BuildReason("build was cancelled")


class TemplateRemovalRepo:
    """Implements `sandbank.api.core.template_removal.TemplateRemovals`; `on_change` hears of every name that means nothing any more."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], on_change: Callable[[], None]) -> None:
        self._sessions = sessions
        self._on_change = on_change

    async def is_paused(self, template_id: str) -> bool:
        """See `TemplateRemovals.is_paused`."""
        hidden = aliased(Env)
        kept = exists().where(hidden.id == Snapshot.env_id, hidden.deleted_at.is_(None))
        with translated():
            async with self._sessions() as session:
                return await session.scalar(select(Snapshot.id).where(Snapshot.base_env_id == template_id, kept).limit(1)) is not None

    async def delete(self, template_id: str) -> Sequence[tuple[str, str]]:
        """See `TemplateRemovals.delete`."""
        builds = select(EnvBuild.cluster_node_id, EnvBuild.id, EnvBuild.status_group).where(EnvBuild.env_id == template_id)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(update(Env).where(Env.id == template_id).values(deleted_at=utc_now()))
                await session.execute(delete(EnvAlias).where(EnvAlias.env_id == template_id))
                mine = (await session.execute(builds)).all()
                for row in mine:
                    if row.status_group in ("pending", "in_progress"):
                        await fail_build(session, row.id, _CANCELLED)
                await session.execute(delete(EnvBuildAssignment).where(EnvBuildAssignment.env_id == template_id))
                ids = [row.id for row in mine]
                elsewhere = set(await session.scalars(select(EnvBuildAssignment.build_id).where(EnvBuildAssignment.build_id.in_(ids))))
        self._on_change()
        return [(row.cluster_node_id, str(row.id)) for row in mine if row.cluster_node_id and row.id not in elsewhere]
