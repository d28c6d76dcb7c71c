"""Templates, their names, their builds, and snapshots. Tables and columns are those of E2B's schema."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, FetchedValue, ForeignKey, Index, Integer, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from sandbank.db.base import Base, CreatedAt, UuidKey
from sandbank.db.columns import Json, TextList


class Env(Base):
    """A template; `source` tells those made by users from those behind paused sandboxes and snapshots."""

    __tablename__ = "envs"
    __table_args__ = (Index("ix_envs_team_id_source", "team_id", "source", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
    public: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    build_count: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    spawn_count: Mapped[int] = mapped_column(default=0, server_default="0")
    last_spawned_at: Mapped[datetime | None]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    cluster_id: Mapped[uuid.UUID | None]
    source: Mapped[str] = mapped_column(default="template", server_default="template")
    deleted_at: Mapped[datetime | None]


class EnvAlias(Base):
    """A template's name in a team's namespace, or in nobody's (`NULL`), where everyone can say it bare."""

    __tablename__ = "env_aliases"
    # One index per case, because NULLs are distinct from each other in a unique one.
    __table_args__ = (
        Index("uq_env_aliases_alias_namespace", "alias", "namespace", unique=True),
        Index(
            "uq_env_aliases_promoted",
            "alias",
            unique=True,
            postgresql_where=text("namespace IS NULL"),
            sqlite_where=text("namespace IS NULL"),
        ),
    )

    id: Mapped[UuidKey]
    alias: Mapped[str]
    namespace: Mapped[str | None]
    env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"), index=True)
    is_renamable: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))


class EnvBuild(Base):
    """One build of a template. Sizes in MiB."""

    __tablename__ = "env_builds"
    __table_args__ = (Index("ix_env_builds_team_id_status_group", "team_id", "status_group"),)

    id: Mapped[UuidKey]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(default="waiting", server_default="waiting")
    # The database's: a trigger's in PostgreSQL, as in E2B's schema, and a generated column in SQLite.
    status_group: Mapped[str] = mapped_column(Text, FetchedValue(), nullable=False)
    dockerfile: Mapped[str | None]
    start_cmd: Mapped[str | None]
    ready_cmd: Mapped[str | None]
    vcpu: Mapped[int]
    ram_mb: Mapped[int]
    free_disk_size_mb: Mapped[int]
    total_disk_size_mb: Mapped[int | None]
    kernel_version: Mapped[str] = mapped_column(default="vmlinux-5.10.186", server_default="vmlinux-5.10.186")
    firecracker_version: Mapped[str]
    envd_version: Mapped[str | None]
    env_id: Mapped[str | None] = mapped_column(index=True)
    cluster_node_id: Mapped[str | None]
    reason: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default=text("'{}'"))
    version: Mapped[str | None]
    cpu_architecture: Mapped[str | None]
    cpu_family: Mapped[str | None]
    cpu_model: Mapped[str | None]
    cpu_model_name: Mapped[str | None]
    cpu_flags: Mapped[list[str] | None] = mapped_column(TextList)
    team_id: Mapped[uuid.UUID | None]


class EnvBuildAssignment(Base):
    """A tag of a template pointing at a build; of several rows the newest counts."""

    __tablename__ = "env_build_assignments"
    __table_args__ = (Index("ix_env_build_assignments_env_id_tag", "env_id", "tag", "created_at", "build_id"),)

    id: Mapped[UuidKey]
    env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"))
    build_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("env_builds.id", ondelete="CASCADE"), index=True)
    tag: Mapped[str]
    source: Mapped[str] = mapped_column(default="app", server_default="app")
    created_at: Mapped[CreatedAt]


class ActiveTemplateBuild(Base):
    """A build that is waiting or in progress: what the limit on concurrent builds counts."""

    __tablename__ = "active_template_builds"
    __table_args__ = (Index("ix_active_template_builds_team_id_created_at", "team_id", "created_at"),)

    build_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    team_id: Mapped[uuid.UUID]
    template_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"))
    tags: Mapped[list[str]] = mapped_column(TextList)
    created_at: Mapped[CreatedAt]


class Snapshot(Base):
    """A paused sandbox."""

    __tablename__ = "snapshots"
    __table_args__ = (Index("ix_snapshots_team_id_sandbox_started_at", "team_id", "sandbox_started_at", "sandbox_id"),)

    id: Mapped[UuidKey]
    created_at: Mapped[CreatedAt]
    env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"), index=True)
    sandbox_id: Mapped[str] = mapped_column(unique=True)
    # `metadata` is taken on a declarative class.
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", Json, default=dict, server_default=text("'{}'"))
    base_env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"), index=True)
    sandbox_started_at: Mapped[datetime]
    env_secure: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    origin_node_id: Mapped[str]
    allow_internet_access: Mapped[bool | None] = mapped_column(Boolean)
    auto_pause: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    config: Mapped[dict[str, Any] | None] = mapped_column(Json)


class SnapshotTemplate(Base):
    """A snapshot that was taken to be used as a template."""

    __tablename__ = "snapshot_templates"

    env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"), primary_key=True)
    sandbox_id: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[CreatedAt]
    origin_node_id: Mapped[str | None]
    build_id: Mapped[uuid.UUID | None]


class EnvDefault(Base):
    """A template that the installation itself offers."""

    __tablename__ = "env_defaults"

    env_id: Mapped[str] = mapped_column(ForeignKey("envs.id", ondelete="CASCADE"), primary_key=True)
    description: Mapped[str | None]
