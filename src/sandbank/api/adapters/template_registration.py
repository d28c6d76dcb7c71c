"""New builds as rows: the template, its name and tags, a place among the team's active builds (templates contract §1.3)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from sandbank.api.adapters.template_build_rows import SUPERSEDED, WAITING, fail_builds, overlapping_builds
from sandbank.api.adapters.template_names import names_of, take_name
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import BuildRequest, RequestedBuild
from sandbank.db.base import utc_now
from sandbank.db.models_accounts import Team as TeamRow
from sandbank.db.models_templates import ActiveTemplateBuild, Env, EnvAlias, EnvBuild, EnvBuildAssignment
from sandbank.domain.errors import DeniedError, ExhaustedError, InvalidError, NotFoundError
from sandbank.domain.identifiers import new_template_id

_COUNTED_FOR = timedelta(days=1)
# What E2B would run it on; tools and clients see it, nothing here depends on it.
_KERNEL, _FIRECRACKER = "vmlinux-6.1.158", "v1.14.1"


async def register_build(session: AsyncSession, team: Team, request: BuildRequest) -> RequestedBuild:
    """See `BuildRecords.register`, within a transaction that has done nothing yet. Requests of one team take turns."""
    now, build_id = utc_now(), uuid.uuid4()
    await _take_turn(session, team)
    env = await _find_env(session, team, request)
    await _require_place(session, team, None if env is None else env.id, request.tags)
    if env is None:
        env = Env(id=new_template_id(), team_id=uuid.UUID(team.team_id), created_by=_uuid(request.user_id), build_count=0)
        session.add(env)
        await session.flush()
    env.build_count += 1
    env.updated_at = now
    await fail_builds(session, await overlapping_builds(session, env.id, request.tags, "pending"), SUPERSEDED)
    session.add(_row(build_id, env, request, now))
    await session.flush()
    if request.alias is not None:
        await take_name(session, team, env.id, request.alias)
    for tag in request.tags:
        session.add(EnvBuildAssignment(env_id=env.id, build_id=build_id, tag=tag, created_at=now))
    active = ActiveTemplateBuild(build_id=build_id, team_id=env.team_id, template_id=env.id, tags=list(request.tags), created_at=now)
    session.add(active)
    await session.flush()
    aliases, names = await names_of(session, env.id)
    return RequestedBuild(env.id, str(build_id), env.public, aliases, names, request.tags, env.created_at, env.updated_at)


async def _take_turn(session: AsyncSession, team: Team) -> None:
    # By the team's row in PostgreSQL; in SQLite by being the one that writes, be it nothing.
    await session.execute(select(TeamRow.id).where(TeamRow.id == uuid.UUID(team.team_id)).with_for_update(key_share=True))
    await session.execute(update(Env).where(Env.id == "").values(updated_at=Env.updated_at))


async def _find_env(session: AsyncSession, team: Team, request: BuildRequest) -> Env | None:
    # Locked: who deletes it comes before or after.
    if request.template_id is not None:
        env = await session.get(Env, request.template_id, with_for_update=True)
        if env is None or env.source != "template":
            raise NotFoundError(f"Template '{request.template_id}' not found")
        if str(env.team_id) != team.team_id:
            raise DeniedError(f"You do not have access to the template '{request.template_id}'")
    elif request.alias is not None and request.rebuilds:
        named = select(Env).join(EnvAlias, EnvAlias.env_id == Env.id).where(EnvAlias.alias == request.alias).with_for_update(of=Env)
        mine = named.where(Env.team_id == uuid.UUID(team.team_id))
        env = await session.scalar(named.where(EnvAlias.namespace == team.slug)) or await session.scalar(
            mine.where(EnvAlias.namespace.is_(None))
        )
        if env is not None and env.source != "template":
            raise InvalidError(f"Invalid name: '{team.slug}/{request.alias}' is a snapshot")
    else:
        return None
    if env is not None and env.deleted_at is not None:
        raise NotFoundError(f"Template '{request.template_id or request.alias}' has been deleted and cannot be rebuilt")
    return env


async def _require_place(session: AsyncSession, team: Team, template_id: str | None, tags: Collection[str]) -> None:
    since = utc_now() - _COUNTED_FOR
    counted = (ActiveTemplateBuild.team_id == uuid.UUID(team.team_id), ActiveTemplateBuild.created_at > since)
    rows = await session.scalars(select(ActiveTemplateBuild).where(*counted))
    if sum(not (row.template_id == template_id and set(row.tags) & set(tags)) for row in rows) >= team.concurrent_builds:
        raise ExhaustedError(
            f"you have reached the maximum number of concurrent template builds ({team.concurrent_builds})."
            " Please wait for existing builds to complete or contact support if you need more concurrent builds.",
            should_retry=False,
        )


def _row(build_id: uuid.UUID, env: Env, request: BuildRequest, now: datetime) -> EnvBuild:
    return EnvBuild(
        id=build_id,
        created_at=now,
        updated_at=now,
        status=WAITING,
        env_id=env.id,
        team_id=env.team_id,
        vcpu=request.vcpu,
        ram_mb=request.ram_mb,
        free_disk_size_mb=request.free_disk_mb,
        start_cmd=request.start_cmd,
        ready_cmd=request.ready_cmd,
        dockerfile=request.dockerfile,
        version=request.version,
        kernel_version=_KERNEL,
        firecracker_version=_FIRECRACKER,
    )


def _uuid(text: str | None) -> uuid.UUID | None:
    return None if text is None else uuid.UUID(text)
