"""Default templates in SQL."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.adapters.template_build_rows import read_build
from sandbank.api.core.template_build import Build
from sandbank.db.models_templates import Env, EnvBuild
from sandbank.db.seed import ensure_default_template


class DefaultTemplateRepo:
    """Implements `sandbank.api.core.default_templates.DefaultRecords`: they are the seeded team's."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def ensure(self, alias: str, description: str | None) -> tuple[str, str]:
        """See `DefaultRecords.ensure`."""
        with translated():
            template_id = await ensure_default_template(self._sessions, alias, description)
            async with self._sessions() as session:
                env = await session.get_one(Env, template_id)
        return template_id, str(env.team_id)

    async def newest(self, template_id: str) -> tuple[Build, Any] | None:
        """See `DefaultRecords.newest`."""
        query = select(EnvBuild, Env.team_id).join(Env, Env.id == EnvBuild.env_id)
        query = query.where(Env.id == template_id).order_by(EnvBuild.created_at.desc(), EnvBuild.id)
        with translated():
            async with self._sessions() as session:
                found = (await session.execute(query.limit(1))).first()
        if found is None:
            return None
        return read_build(found[0], found[1]), _document(found[0].dockerfile)

    async def has_ready(self, template_id: str) -> bool:
        """Whether any of its builds can be used."""
        query = select(EnvBuild.id).where(EnvBuild.env_id == template_id, EnvBuild.status_group == "ready").limit(1)
        with translated():
            async with self._sessions() as session:
                return (await session.scalars(query)).first() is not None

    async def retire(self, build_id: str, reason: str) -> None:
        """Have a build that was ready count as failed."""
        change = update(EnvBuild).where(EnvBuild.id == uuid.UUID(build_id)).values(status="failed", reason={"message": reason})
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(change)


def _document(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None  # of an older client: the text of a Dockerfile
