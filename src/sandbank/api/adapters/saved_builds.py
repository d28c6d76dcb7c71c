"""Builds that are saves of sandboxes, as rows (contract templates-and-data §2.4, §2.6)."""

from __future__ import annotations

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from sandbank.db.models_templates import EnvBuild
from sandbank.domain.sandbox import Sandbox

UNFINISHED, READY = "snapshotting", "success"
# Of the machine that the build was made on, and what boots there.
_INHERITED = ("kernel_version", "firecracker_version", "cpu_architecture", "cpu_family", "cpu_model", "cpu_model_name", "cpu_flags")


async def saved_build(session: AsyncSession, sandbox: Sandbox, build_id: str, status: str) -> EnvBuild:
    """The row of a save: as large as the sandbox, on its node, and what its own build says of machines."""
    source = await session.get(EnvBuild, uuid.UUID(sandbox.build_id))
    inherited = {"firecracker_version": ""} if source is None else {name: getattr(source, name) for name in _INHERITED}
    return EnvBuild(
        id=uuid.UUID(build_id),
        status=status,
        vcpu=sandbox.vcpu,
        ram_mb=sandbox.ram_mb,
        free_disk_size_mb=sandbox.disk_mb if source is None else source.free_disk_size_mb,
        total_disk_size_mb=sandbox.disk_mb,
        envd_version=sandbox.envd_version,
        cluster_node_id=sandbox.node_id,
        **inherited,
    )
