"""Volumes and clusters. Tables and columns are those of E2B's schema."""

from __future__ import annotations

import uuid

from sqlalchemy import Boolean, ForeignKey, String, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from sandbank.db import models_accounts  # noqa: F401  # without the tables that keys refer to, these have no type
from sandbank.db.base import Base, CreatedAt, UuidKey


class Cluster(Base):
    """Nodes of a team's own, elsewhere."""

    __tablename__ = "clusters"

    id: Mapped[UuidKey]
    endpoint: Mapped[str]
    endpoint_tls: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    token: Mapped[str]
    sandbox_proxy_domain: Mapped[str | None]
    auth_org_id: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str]


class Volume(Base):
    """A directory that outlives sandboxes; its name is unique within the team."""

    __tablename__ = "volumes"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[UuidKey]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str] = mapped_column(String(250))
    volume_type: Mapped[str] = mapped_column(String(250))
    created_at: Mapped[CreatedAt]
