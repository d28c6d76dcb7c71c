"""Builds of templates in SQL (templates contract §1.3–§1.5). A build has a row among the active ones as long as it is unfinished."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from sandbank.api.adapters.sql_errors import translated
from sandbank.api.adapters.template_build_rows import (
    BUILDING,
    CLAIMED,
    READY,
    SUPERSEDED,
    WAITING,
    active_builds,
    fail_build,
    fail_builds,
    is_changed,
    overlapping_builds,
    read_build,
)
from sandbank.api.adapters.template_registration import register_build
from sandbank.api.core.team import Team
from sandbank.api.core.template_build import (
    Build,
    BuildClaim,
    BuildReason,
    BuildRequest,
    BuildResult,
    RequestedBuild,
)
from sandbank.db.base import utc_now
from sandbank.db.models_templates import ActiveTemplateBuild, Env, EnvBuild


class TemplateBuildRepo:
    """Implements `sandbank.api.core.template_build.BuildRecords`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def register(self, team: Team, request: BuildRequest) -> RequestedBuild:
        """See `BuildRecords.register`."""
        with translated():
            async with self._sessions.begin() as session:
                return await register_build(session, team, request)

    async def find(self, build_id: str) -> Build | None:
        """See `BuildRecords.find`; that of a template that is deleted, too."""
        query = select(EnvBuild, Env.team_id).join(Env, Env.id == EnvBuild.env_id)
        query = query.where(EnvBuild.id == uuid.UUID(build_id), Env.source != "snapshot")
        with translated():
            async with self._sessions() as session:
                found = (await session.execute(query)).first()
        return None if found is None else read_build(found[0], found[1])

    async def claim(self, build_id: str, claim: BuildClaim) -> Sequence[Build] | None:
        """See `BuildRecords.claim`."""
        key, machine = uuid.UUID(build_id), claim.builder
        values: dict[str, Any] = {
            "status": CLAIMED,
            "updated_at": utc_now(),
            "version": claim.version,
            "start_cmd": claim.start_cmd,
            "ready_cmd": claim.ready_cmd,
            "cluster_node_id": machine.node_id,
            "cpu_architecture": machine.architecture,
            "cpu_family": machine.family,
            "cpu_model": machine.model,
            "cpu_model_name": machine.model_name,
            "cpu_flags": list(machine.flags),
        }
        if claim.recipe is not None:
            values["dockerfile"] = json.dumps(claim.recipe, separators=(",", ":"))
        with translated():
            async with self._sessions.begin() as session:
                if not await is_changed(session, update(EnvBuild).where(EnvBuild.id == key, EnvBuild.status == WAITING).values(**values)):
                    return None
                active = await session.get(ActiveTemplateBuild, key)
                if active is None:
                    return []
                superseded = await overlapping_builds(session, active.template_id, active.tags, "in_progress")
                await fail_builds(session, superseded, SUPERSEDED)
                return [read_build(row, row.team_id or active.team_id) for row in superseded]

    async def accept(self, build_id: str) -> bool:
        """See `BuildRecords.accept`."""
        claimed = (EnvBuild.id == uuid.UUID(build_id), EnvBuild.status == CLAIMED)
        with translated():
            async with self._sessions.begin() as session:
                return await is_changed(session, update(EnvBuild).where(*claimed).values(status=BUILDING, updated_at=utc_now()))

    async def fail(self, build_id: str, reason: BuildReason) -> bool:
        """See `BuildRecords.fail`."""
        with translated():
            async with self._sessions.begin() as session:
                return await fail_build(session, uuid.UUID(build_id), reason)

    async def finish(self, build_id: str, result: BuildResult) -> bool:
        """See `BuildRecords.finish`."""
        key, now = uuid.UUID(build_id), utc_now()
        values: dict[str, Any] = {
            "status": READY,
            "updated_at": now,
            "finished_at": now,
            "total_disk_size_mb": result.disk_mb,
            "envd_version": result.envd_version,
        }
        if result.kernel_version:
            values["kernel_version"] = result.kernel_version
        if result.firecracker_version:
            values["firecracker_version"] = result.firecracker_version
        with translated():
            async with self._sessions.begin() as session:
                running = (EnvBuild.id == key, EnvBuild.status_group == "in_progress")
                is_done = await is_changed(session, update(EnvBuild).where(*running).values(**values))
                if is_done:
                    await session.execute(delete(ActiveTemplateBuild).where(ActiveTemplateBuild.build_id == key))
                return is_done

    async def list_unfinished(self, team_id: str | None = None) -> Sequence[Build]:
        """See `BuildRecords.list_unfinished`."""
        query = active_builds().order_by(ActiveTemplateBuild.created_at)
        if team_id is not None:
            query = query.where(ActiveTemplateBuild.team_id == uuid.UUID(team_id))
        with translated():
            async with self._sessions() as session:
                return [read_build(row, active.team_id) for row, active in await session.execute(query)]
