"""Lists of templates and builds from SQL (rest-api contract §14.8–§14.10)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.adapters.template_build_rows import state_of
from sandbank.api.adapters.template_names import all_names
from sandbank.api.adapters.template_repo import SOURCES
from sandbank.api.core.pagination import Cursor
from sandbank.api.core.template_build import BuildState
from sandbank.api.core.template_listing import NO_BUILD, ListedBuild, ListedTemplate
from sandbank.db.models_templates import Env, EnvBuild, EnvBuildAssignment, EnvDefault
from sandbank.domain.errors import InvalidError
from sandbank.domain.template_reference import DEFAULT_TAG


class TemplateShelfRepo:
    """Implements `sandbank.api.core.template_listing.TemplateShelf`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def list_team(
        self, team_id: str, limit: int, *, after: Cursor | None = None, newest_first: bool = False
    ) -> Sequence[ListedTemplate]:
        """See `TemplateShelf.list_team`."""
        query = select(Env).where(Env.team_id == uuid.UUID(team_id), Env.source == "template", Env.deleted_at.is_(None)).limit(limit)
        query = query.order_by(Env.created_at.desc(), Env.id.desc()) if newest_first else query.order_by(Env.created_at, Env.id)
        if after is not None:
            query = query.where(or_(Env.created_at < after.at, and_(Env.created_at == after.at, Env.id < after.row_id)))
        return await self._list(query)

    async def list_defaults(self) -> Sequence[ListedTemplate]:
        """See `TemplateShelf.list_defaults`."""
        query = select(Env).join(EnvDefault, EnvDefault.env_id == Env.id)
        return await self._list(query.where(Env.deleted_at.is_(None)).order_by(Env.id))

    async def find(self, template_id: str) -> ListedTemplate | None:
        """See `TemplateShelf.find`."""
        found = await self._list(select(Env).where(Env.id == template_id, Env.source.in_(SOURCES), Env.deleted_at.is_(None)))
        return found[0] if found else None

    async def list_builds(self, template_id: str, limit: int, after: Cursor | None) -> Sequence[ListedBuild]:
        """See `TemplateShelf.list_builds`."""
        query = select(EnvBuild).where(EnvBuild.env_id == template_id).order_by(EnvBuild.created_at.desc(), EnvBuild.id.desc()).limit(limit)
        if after is not None:
            query = query.where(
                or_(EnvBuild.created_at < after.at, and_(EnvBuild.created_at == after.at, EnvBuild.id < _key(after.row_id)))
            )
        with translated():
            async with self._sessions() as session:
                return [_build(row) for row in await session.scalars(query)]

    async def _list(self, query: Select[Env]) -> Sequence[ListedTemplate]:
        with translated():
            async with self._sessions() as session:
                envs = (await session.scalars(query)).all()
                ids = [env.id for env in envs]
                names = await all_names(session, ids)
                newest = await _newest(session, ids, only_ready=False)
                ready = await _newest(session, ids, only_ready=True)
                defaults = {row.env_id: row for row in await session.scalars(select(EnvDefault).where(EnvDefault.env_id.in_(ids)))}
        return [_template(env, names.get(env.id, ([], [])), newest.get(env.id), ready.get(env.id), defaults.get(env.id)) for env in envs]


async def _newest(session: AsyncSession, template_ids: Sequence[str], *, only_ready: bool) -> Mapping[str, EnvBuild]:
    """For each the build that was tagged as the default one last."""
    order = (EnvBuildAssignment.created_at.desc(), EnvBuildAssignment.build_id.desc())
    place = func.row_number().over(partition_by=EnvBuildAssignment.env_id, order_by=order).label("place")
    tagged = (
        select(EnvBuildAssignment.env_id, EnvBuildAssignment.build_id, place)
        .join(EnvBuild, EnvBuild.id == EnvBuildAssignment.build_id)
        .where(EnvBuildAssignment.env_id.in_(template_ids), EnvBuildAssignment.tag == DEFAULT_TAG)
    )
    if only_ready:
        tagged = tagged.where(EnvBuild.status_group == "ready")
    ranked = tagged.subquery()
    build = aliased(EnvBuild)
    rows = await session.execute(select(ranked.c.env_id, build).join(ranked, ranked.c.build_id == build.id).where(ranked.c.place == 1))
    return {row[0]: row[1] for row in rows}


def _template(
    env: Env, names: tuple[Sequence[str], Sequence[str]], newest: EnvBuild | None, ready: EnvBuild | None, default: EnvDefault | None
) -> ListedTemplate:
    return ListedTemplate(
        template_id=env.id,
        team_id=str(env.team_id),
        public=env.public,
        aliases=names[0],
        names=names[1],
        created_at=env.created_at,
        updated_at=env.updated_at,
        build_state=BuildState.WAITING if newest is None else state_of(newest.status_group),
        build_id=NO_BUILD if ready is None else str(ready.id),
        vcpu=0 if ready is None else ready.vcpu,
        ram_mb=0 if ready is None else ready.ram_mb,
        disk_mb=0 if ready is None else ready.total_disk_size_mb or 0,
        envd_version="" if ready is None else ready.envd_version or "",
        created_by=None if env.created_by is None else str(env.created_by),
        last_spawned_at=env.last_spawned_at,
        spawn_count=env.spawn_count,
        build_count=env.build_count,
        is_default=default is not None,
        description=None if default is None else default.description,
    )


def _build(row: EnvBuild) -> ListedBuild:
    return ListedBuild(
        build_id=str(row.id),
        state=state_of(row.status_group),
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        vcpu=row.vcpu,
        ram_mb=row.ram_mb,
        disk_mb=row.total_disk_size_mb,
        envd_version=row.envd_version,
    )


def _key(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise InvalidError("Invalid next token") from error
