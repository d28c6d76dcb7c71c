"""Snapshot templates in SQL: templates of their own kind, with a build for each time that one was taken (templates contract §2.6)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.saved_builds import READY, saved_build
from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.snapshot_templates import SnapshotName, SnapshotQuery, SnapshotTemplate
from sandbank.api.core.team import Team
from sandbank.db.base import utc_now
from sandbank.db.models_templates import Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.db.models_templates import SnapshotTemplate as Row
from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import new_template_id
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.template_reference import DEFAULT_TAG, TemplateReference

_SOURCE = "snapshot_template"


class SnapshotTemplateRepo:
    """Implements `sandbank.api.core.snapshot_templates.SnapshotTemplateRecords`; `on_change` hears of every name that means another."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], on_change: Callable[[], None]) -> None:
        self._sessions = sessions
        self._on_change = on_change

    async def require_usable(self, team: Team, name: SnapshotName) -> None:
        """See `SnapshotTemplateRecords.require_usable`."""
        with translated():
            async with self._sessions() as session:
                await _find_named(session, team, name)

    async def add(self, team: Team, sandbox: Sandbox, build_id: str, name: SnapshotName | None) -> SnapshotTemplate:
        """See `SnapshotTemplateRecords.add`."""
        now, key = utc_now(), uuid.UUID(build_id)
        tag = DEFAULT_TAG if name is None else name.tag
        with translated():
            async with self._sessions.begin() as session:
                env = None if name is None else await _find_named(session, team, name, for_update=True)
                if env is None:
                    env = Env(id=new_template_id(), team_id=uuid.UUID(team.team_id), source=_SOURCE, build_count=0)
                    session.add(env)
                    await session.flush()
                    if name is not None:
                        session.add(EnvAlias(alias=name.alias, namespace=team.slug, env_id=env.id))
                env.build_count += 1
                env.updated_at = now
                build = await saved_build(session, sandbox, build_id, READY)
                build.finished_at = now
                session.add(build)
                await session.flush()
                session.add(EnvBuildAssignment(env_id=env.id, build_id=key, tag=tag))
                origin = {"sandbox_id": sandbox.sandbox_id, "origin_node_id": sandbox.node_id, "build_id": key, "created_at": now}
                await session.merge(Row(env_id=env.id, **origin))
                template_id = env.id
        self._on_change()
        return SnapshotTemplate(template_id, [] if name is None else [f"{team.slug}/{name.alias}"], tag, now)

    async def list(self, team: Team, query: SnapshotQuery) -> Sequence[SnapshotTemplate]:
        """See `SnapshotTemplateRecords.list`: one more than the limit where there are more."""
        rows = (
            select(Row.env_id, Row.created_at)
            .join(Env, Env.id == Row.env_id)
            .where(Env.team_id == uuid.UUID(team.team_id), Env.source == _SOURCE, Env.deleted_at.is_(None))
            .order_by(Row.created_at.desc(), Row.env_id.desc())
            .limit(query.limit + 1)
        )
        if query.sandbox_id is not None:
            rows = rows.where(Row.sandbox_id == query.sandbox_id)
        if query.after is not None:
            before = and_(Row.created_at == query.after.at, Row.env_id < query.after.row_id)
            rows = rows.where(or_(Row.created_at < query.after.at, before))
        with translated():
            async with self._sessions() as session:
                if query.reference is not None:
                    rows = rows.where(Row.env_id.in_(await _meant(session, team, query.reference)))
                found = (await session.execute(rows)).all()
                ids = [template_id for template_id, _ in found]
                names = await _names(session, ids)
                tags = await _tags(session, ids, query.tag)
        return [SnapshotTemplate(one, names.get(one, []), tags[one], created_at) for one, created_at in found if one in tags]


async def _find_named(session: AsyncSession, team: Team, name: SnapshotName, *, for_update: bool = False) -> Env | None:
    query = (
        select(Env)
        .join(EnvAlias, EnvAlias.env_id == Env.id)
        .where(EnvAlias.alias == name.alias, EnvAlias.namespace == team.slug, Env.deleted_at.is_(None))
    )
    env = await session.scalar(query.with_for_update(of=Env) if for_update else query)
    if env is not None and (env.source != _SOURCE or str(env.team_id) != team.team_id):
        raise InvalidError(f"Invalid name: '{team.slug}/{name.alias}' is a template that is no snapshot")
    return env


async def _meant(session: AsyncSession, team: Team, reference: TemplateReference) -> Sequence[str]:
    """The IDs of the templates that it may stand for, as far as they are the team's or named by ID."""
    named = and_(EnvAlias.alias == reference.identifier, EnvAlias.namespace == team.slug)
    if reference.namespace not in (None, team.slug):
        return []
    ids = (await session.scalars(select(EnvAlias.env_id).where(named))).all()
    return ids if reference.namespace is not None else [*ids, reference.identifier]


async def _names(session: AsyncSession, template_ids: Sequence[str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    query = select(EnvAlias).where(EnvAlias.env_id.in_(template_ids)).order_by(EnvAlias.alias)
    for one in await session.scalars(query):
        names.setdefault(one.env_id, []).append(one.alias if one.namespace is None else f"{one.namespace}/{one.alias}")
    return names


async def _tags(session: AsyncSession, template_ids: Sequence[str], tag: str | None) -> dict[str, str]:
    """For each the tag of its newest build, or that tag where there is one."""
    query = (
        select(EnvBuildAssignment.env_id, EnvBuildAssignment.tag)
        .join(EnvBuild, EnvBuild.id == EnvBuildAssignment.build_id)
        .where(EnvBuildAssignment.env_id.in_(template_ids), EnvBuild.status == READY)
        .order_by(EnvBuildAssignment.created_at)
    )
    if tag is not None:
        query = query.where(EnvBuildAssignment.tag == tag)
    return {row.env_id: row.tag for row in await session.execute(query)}
