"""Rows of builds, as several repositories read and change them (templates contract §1.5)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from sandbank.api.core.template_build import VERSION_1, Build, BuildReason, BuildState
from sandbank.db.base import utc_now
from sandbank.db.models_templates import ActiveTemplateBuild, EnvBuild

WAITING, CLAIMED, BUILDING, READY, FAILED = "waiting", "pending", "building", "uploaded", "failed"
SUPERSEDED = BuildReason("The build was canceled because it was superseded by a newer one.")

_STATES = {"pending": BuildState.WAITING, "in_progress": BuildState.BUILDING, "ready": BuildState.READY}
_UNFINISHED = ("pending", "in_progress")
_MOST_REASON = 16 * 1024


def state_of(status_group: str) -> BuildState:
    """A row's state in clients' words."""
    return _STATES.get(status_group, BuildState.ERROR)


def read_build(row: EnvBuild, team_id: uuid.UUID) -> Build:
    """A row in the core's words."""
    reason = row.reason or {}
    return Build(
        build_id=str(row.id),
        template_id=row.env_id or "",
        team_id=str(team_id),
        state=state_of(row.status_group),
        is_startable=row.status == WAITING,
        vcpu=row.vcpu,
        ram_mb=row.ram_mb,
        free_disk_mb=row.free_disk_size_mb,
        version=row.version or VERSION_1,
        created_at=row.created_at,
        started_at=row.updated_at,
        start_cmd=row.start_cmd or "",
        ready_cmd=row.ready_cmd or "",
        node_id=row.cluster_node_id,
        reason=BuildReason(str(reason["message"]), reason.get("step")) if reason.get("message") else None,
    )


def active_builds() -> Select[EnvBuild, ActiveTemplateBuild]:
    """Those that wait or are in progress."""
    return (
        select(EnvBuild, ActiveTemplateBuild)
        .join(ActiveTemplateBuild, ActiveTemplateBuild.build_id == EnvBuild.id)
        .where(EnvBuild.status_group.in_(_UNFINISHED))
    )


async def overlapping_builds(session: AsyncSession, template_id: str, tags: Collection[str], status_group: str) -> Sequence[EnvBuild]:
    """A template\'s active builds in that state that share a tag with `tags`."""
    query = active_builds().where(ActiveTemplateBuild.template_id == template_id, EnvBuild.status_group == status_group)
    return [row for row, active in (await session.execute(query)).all() if set(active.tags) & set(tags)]


async def fail_builds(session: AsyncSession, builds: Sequence[EnvBuild], reason: BuildReason) -> None:
    """All of them, as `fail_build`."""
    for build in builds:
        await fail_build(session, build.id, reason)


async def fail_build(session: AsyncSession, key: uuid.UUID, reason: BuildReason) -> bool:
    """Make an unfinished build a failed one; False if it was finished."""
    now = utc_now()
    # What a build says of itself is its own: neither database nor memory may suffer.
    said = {"message": reason.message.replace("\0", "")[:_MOST_REASON]} | ({} if reason.step is None else {"step": reason.step[:64]})
    unfinished = (EnvBuild.id == key, EnvBuild.status_group.in_(_UNFINISHED))
    values = {"status": FAILED, "reason": said, "updated_at": now, "finished_at": now}
    is_failed = await is_changed(session, update(EnvBuild).where(*unfinished).values(**values))
    if is_failed:
        await session.execute(delete(ActiveTemplateBuild).where(ActiveTemplateBuild.build_id == key))
    return is_failed


async def is_changed(session: AsyncSession, statement: Any) -> bool:
    """Whether the statement has changed its one row."""
    result: Any = await session.execute(statement.execution_options(synchronize_session=False))
    changed: bool = result.rowcount == 1
    return changed
