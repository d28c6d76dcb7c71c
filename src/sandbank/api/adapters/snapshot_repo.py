"""Paused sandboxes in SQL (contract templates-and-data §2.4): a hidden template for each, with a build for each save that is wanted."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, cast, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from sandbank.api.adapters import snapshot_config
from sandbank.api.adapters.saved_builds import READY, UNFINISHED, saved_build
from sandbank.api.adapters.sql_errors import translated
from sandbank.api.core.ports import PausedQuery
from sandbank.api.core.snapshot import Snapshot
from sandbank.db.base import utc_now
from sandbank.db.models_templates import Env, EnvBuild, EnvBuildAssignment
from sandbank.db.models_templates import Snapshot as Row
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.identifiers import new_template_id
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState
from sandbank.domain.template_reference import DEFAULT_TAG

_MOST_PARAMETERS = 500  # of one statement


class SnapshotRepo:
    """Implements `sandbank.api.core.ports.Snapshots`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], tokens: SandboxTokens) -> None:
        self._sessions = sessions
        self._tokens = tokens

    async def begin(self, sandbox: Sandbox, build_id: str) -> str:
        """See `Snapshots.begin`."""
        with translated():
            async with self._sessions.begin() as session:
                env_id = await self._put(session, sandbox)
                session.add(await saved_build(session, sandbox, build_id, UNFINISHED))
                await session.flush()
                session.add(EnvBuildAssignment(env_id=env_id, build_id=uuid.UUID(build_id), tag=DEFAULT_TAG))
        return env_id

    async def finish(self, build_id: str, *, is_ready: bool) -> Sequence[tuple[str, str]]:
        """See `Snapshots.finish`. Of saves that failed or are superfluous no row is kept."""
        key = uuid.UUID(build_id)
        with translated():
            async with self._sessions.begin() as session:
                if not is_ready:
                    await _remove(session, [key])
                    return []
                now = utc_now()
                done = update(EnvBuild).where(EnvBuild.id == key).values(status=READY, updated_at=now, finished_at=now)
                await session.execute(done)
                this = aliased(EnvBuildAssignment)
                others = (
                    select(EnvBuild.cluster_node_id, EnvBuild.id)
                    .join(EnvBuildAssignment, EnvBuildAssignment.build_id == EnvBuild.id)
                    .join(this, and_(this.env_id == EnvBuildAssignment.env_id, this.build_id == key))
                    .where(EnvBuildAssignment.created_at < this.created_at)
                )
                superseded = [(node_id or "", one) for node_id, one in (await session.execute(others)).all()]
                await _remove(session, [one for _, one in superseded])
                return [(node_id, str(one)) for node_id, one in superseded]

    async def find(self, sandbox_id: str) -> Snapshot | None:
        """See `Snapshots.find`."""
        newest = _newest(UNFINISHED, READY)
        query = select(Row, EnvBuild).join(EnvBuild, EnvBuild.id == newest).where(Row.sandbox_id == sandbox_id, _is_kept())
        with translated():
            async with self._sessions() as session:
                found = (await session.execute(query)).first()
        if found is None:
            return None
        row, build = found
        return Snapshot(
            sandbox=self._sandbox(row, build),
            env_id=row.env_id,
            build_id=str(build.id),
            is_ready=build.status == READY,
            kernel_version=build.kernel_version,
            firecracker_version=build.firecracker_version,
        )

    async def list_team(self, team_id: str, query: PausedQuery) -> Sequence[Sandbox]:
        """See `Snapshots.list_team`."""
        started, is_of = Row.sandbox_started_at, Row.team_id == uuid.UUID(team_id)
        rows = select(Row, EnvBuild).join(EnvBuild, EnvBuild.id == _newest(READY)).where(is_of, _is_kept())
        if query.template_id is not None:
            rows = rows.where(Row.base_env_id == query.template_id)
        if query.started_after is not None:
            rows = rows.where(started >= query.started_after)
        if query.after is not None:
            at, row_id = query.after.at, query.after.row_id
            later = and_(started == at, Row.sandbox_id < row_id if query.ascending else Row.sandbox_id > row_id)
            rows = rows.where(or_(started > at if query.ascending else started < at, later))
        order = (started, Row.sandbox_id.desc()) if query.ascending else (started.desc(), Row.sandbox_id)
        with translated():
            async with self._sessions() as session:
                if query.metadata:
                    rows = rows.where(_has_metadata(dict(query.metadata), session.get_bind().dialect.name))
                found = (await session.execute(rows.order_by(*order).limit(query.limit))).all()
        return [self._sandbox(row, build) for row, build in found]

    async def list_unfinished(self) -> Sequence[str]:
        """See `Snapshots.list_unfinished`."""
        newest = _newest(UNFINISHED, READY)
        query = select(Row.sandbox_id).join(EnvBuild, EnvBuild.id == newest).where(EnvBuild.status == UNFINISHED, _is_kept())
        with translated():
            async with self._sessions() as session:
                return (await session.scalars(query)).all()

    async def list_saved_before(self, moment: datetime, after: str, limit: int) -> Sequence[str]:
        """See `Snapshots.list_saved_before`."""
        is_old = and_(EnvBuild.status == READY, EnvBuild.created_at < moment)
        rows = select(Row.sandbox_id).join(EnvBuild, EnvBuild.id == _newest(UNFINISHED, READY)).where(is_old, _is_kept())
        with translated():
            async with self._sessions() as session:
                return (await session.scalars(rows.where(Row.sandbox_id > after).order_by(Row.sandbox_id).limit(limit))).all()

    async def known(self, build_ids: Collection[str]) -> Collection[str]:
        """See `sandbank.api.core.unknown_snapshots.SavedBuilds.known`."""
        keys, known = sorted(map(uuid.UUID, build_ids)), set[str]()
        with translated():
            async with self._sessions() as session:
                for first in range(0, len(keys), _MOST_PARAMETERS):
                    some = EnvBuildAssignment.build_id.in_(keys[first : first + _MOST_PARAMETERS])
                    query = select(EnvBuildAssignment.build_id).join(Env, Env.id == EnvBuildAssignment.env_id)
                    known |= set(map(str, await session.scalars(query.where(some, Env.deleted_at.is_(None)))))
        return known

    async def delete(self, sandbox_id: str) -> Sequence[tuple[str, str]]:
        """See `Snapshots.delete`. The hidden template is marked as deleted, as all templates are."""
        with translated():
            async with self._sessions() as session:
                row = await session.scalar(select(Row).where(Row.sandbox_id == sandbox_id, _is_kept()))
            if row is None:
                return []
            async with self._sessions.begin() as session:
                await session.execute(update(Env).where(Env.id == row.env_id).values(deleted_at=utc_now()))
                builds = (
                    select(EnvBuild.cluster_node_id, EnvBuild.id)
                    .join(EnvBuildAssignment, EnvBuildAssignment.build_id == EnvBuild.id)
                    .where(EnvBuildAssignment.env_id == row.env_id)
                )
                return [(node_id or "", str(build_id)) for node_id, build_id in (await session.execute(builds)).all()]

    async def _put(self, session: AsyncSession, sandbox: Sandbox) -> str:
        """The save's row as the sandbox is now, and its hidden template."""
        row = await session.scalar(select(Row).where(Row.sandbox_id == sandbox.sandbox_id).with_for_update())
        env = None if row is None else await session.get(Env, row.env_id)
        now = utc_now()
        if env is None or env.deleted_at is not None:
            env = Env(id=new_template_id(), team_id=uuid.UUID(sandbox.team_id), source="snapshot", build_count=0)
            session.add(env)
            await session.flush()
        env.build_count += 1
        env.updated_at = now
        values: dict[str, Any] = {
            "env_id": env.id,
            "metadata_": dict(sandbox.metadata),
            "base_env_id": sandbox.template_id,
            "sandbox_started_at": sandbox.started_at,
            "env_secure": sandbox.envd_access_token is not None,
            "origin_node_id": sandbox.node_id,
            "allow_internet_access": sandbox.allow_internet_access,
            "auto_pause": sandbox.auto_pause,
            "config": snapshot_config.encode(sandbox),
        }
        if row is None:
            session.add(Row(sandbox_id=sandbox.sandbox_id, team_id=uuid.UUID(sandbox.team_id), **values))
        else:
            for name, value in values.items():
                setattr(row, name, value)
        return env.id

    def _sandbox(self, row: Row, build: EnvBuild) -> Sandbox:
        config = row.config or {}
        return Sandbox(
            sandbox_id=row.sandbox_id,
            team_id=str(row.team_id),
            template_id=row.base_env_id,
            node_id=build.cluster_node_id or row.origin_node_id,  # the row follows saves that fail, too
            started_at=row.sandbox_started_at,
            end_at=build.created_at,
            vcpu=build.vcpu,
            ram_mb=build.ram_mb,
            disk_mb=build.total_disk_size_mb or build.free_disk_size_mb,
            envd_version=build.envd_version or "v1.0.0",
            metadata=row.metadata_,
            envd_access_token=self._tokens.envd(row.sandbox_id) if row.env_secure else None,
            traffic_access_token=self._tokens.traffic(row.sandbox_id) if snapshot_config.is_private(config) else None,
            allow_internet_access=row.allow_internet_access,
            auto_pause=row.auto_pause,
            state=SandboxState.PAUSED,
            **snapshot_config.decode(config),
        )


async def _remove(session: AsyncSession, builds: Sequence[uuid.UUID]) -> None:
    await session.execute(delete(EnvBuildAssignment).where(EnvBuildAssignment.build_id.in_(builds)))
    await session.execute(delete(EnvBuild).where(EnvBuild.id.in_(builds)))


def _is_kept() -> ColumnElement[bool]:
    return exists().where(Env.id == Row.env_id, Env.deleted_at.is_(None))


def _newest(*statuses: str) -> ScalarSelect[uuid.UUID]:
    """Of a save's builds in one of these states the newest."""
    build = aliased(EnvBuild)
    return (
        select(build.id)
        .join(EnvBuildAssignment, EnvBuildAssignment.build_id == build.id)
        .where(EnvBuildAssignment.env_id == Row.env_id, EnvBuildAssignment.tag == DEFAULT_TAG, build.status.in_(statuses))
        .order_by(EnvBuildAssignment.created_at.desc(), build.id.desc())
        .limit(1)
        .correlate(Row)
        .scalar_subquery()
    )


def _has_metadata(wanted: dict[str, str], dialect: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return cast(Row.metadata_, JSONB).contains(wanted)
    pairs = [func.json_each(Row.metadata_).table_valued("key", "value") for _ in wanted]
    return and_(*(exists().where(one.c.key == key, one.c.value == value) for one, (key, value) in zip(pairs, wanted.items(), strict=True)))
