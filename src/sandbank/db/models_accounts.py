"""Teams, their limits, their members and their credentials. Tables and columns are those of E2B's schema, so tools made for it work."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from sandbank.db.base import Base, CreatedAt, UuidKey
from sandbank.db.columns import TextList


class Tier(Base):
    """A plan: what a team may use before addons and overrides. Sizes in MiB."""

    __tablename__ = "tiers"
    __table_args__ = (
        CheckConstraint("disk_mb > 0", name="disk_mb"),
        CheckConstraint("concurrent_instances > 0", name="concurrent_instances"),
        CheckConstraint("concurrent_template_builds > 0", name="concurrent_template_builds"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    disk_mb: Mapped[int] = mapped_column(default=512, server_default="512")
    concurrent_instances: Mapped[int]
    max_length_hours: Mapped[int]
    max_vcpu: Mapped[int] = mapped_column(default=8, server_default="8")
    max_ram_mb: Mapped[int] = mapped_column(default=8192, server_default="8192")
    concurrent_template_builds: Mapped[int] = mapped_column(default=20, server_default="20")
    events_ttl_days: Mapped[int] = mapped_column(default=7, server_default="7")
    default_free_disk_size_mb: Mapped[int]
    max_disk_size_mb: Mapped[int]


class Team(Base):
    """An account: owns keys, templates and sandboxes. `slug` is the namespace of its templates."""

    __tablename__ = "teams"

    id: Mapped[UuidKey]
    created_at: Mapped[CreatedAt]
    is_blocked: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    is_banned: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    blocked_reason: Mapped[str | None]
    name: Mapped[str]
    tier: Mapped[str] = mapped_column(ForeignKey("tiers.id"))
    email: Mapped[str] = mapped_column(String(255))
    cluster_id: Mapped[uuid.UUID | None]
    slug: Mapped[str] = mapped_column(unique=True)
    sandbox_scheduling_labels: Mapped[list[str]] = mapped_column(TextList, default=list)
    sso_organization_id: Mapped[uuid.UUID | None]
    sso_auto_join: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    profile_picture_url: Mapped[str | None]


class User(Base):
    """A person."""

    __tablename__ = "users"

    id: Mapped[UuidKey]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class UserIdentity(Base):
    """Who a user is for an identity provider; at most one identity per provider."""

    __tablename__ = "user_identities"
    __table_args__ = (UniqueConstraint("user_id", "oidc_iss"),)

    oidc_iss: Mapped[str] = mapped_column(primary_key=True)
    oidc_sub: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class UserTeam(Base):
    """A membership; every user has at most one default team."""

    __tablename__ = "users_teams"
    __table_args__ = (
        UniqueConstraint("team_id", "user_id"),
        Index("uq_users_teams_default", "user_id", unique=True, postgresql_where=text("is_default"), sqlite_where=text("is_default")),
    )

    id: Mapped[int | None]  # a number that E2B keeps from older days; only tools of that time fill it
    uuid_id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    is_default: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    added_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[CreatedAt]


class TeamApiKey(Base):
    """An API key: its hash and its visible rest; the key itself is never stored."""

    __tablename__ = "team_api_keys"

    id: Mapped[UuidKey]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(default="Unnamed API Key", server_default="Unnamed API Key")
    last_used: Mapped[datetime | None]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    api_key_hash: Mapped[str] = mapped_column(unique=True)
    api_key_prefix: Mapped[str] = mapped_column(String(10))
    api_key_length: Mapped[int] = mapped_column(Integer)
    api_key_mask_prefix: Mapped[str] = mapped_column(String(5))
    api_key_mask_suffix: Mapped[str] = mapped_column(String(5))


class AccessToken(Base):
    """A user's token, for the command line."""

    __tablename__ = "access_tokens"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[CreatedAt]
    name: Mapped[str] = mapped_column(default="Unnamed Access Token", server_default="Unnamed Access Token")
    access_token_hash: Mapped[str] = mapped_column(unique=True)
    access_token_prefix: Mapped[str] = mapped_column(String(10))
    access_token_length: Mapped[int] = mapped_column(Integer)
    access_token_mask_prefix: Mapped[str] = mapped_column(String(5))
    access_token_mask_suffix: Mapped[str] = mapped_column(String(5))


class Addon(Base):
    """What a team has on top of its tier for a time."""

    __tablename__ = "addons"

    id: Mapped[UuidKey]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    description: Mapped[str | None]
    extra_concurrent_sandboxes: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_concurrent_template_builds: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_max_vcpu: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_max_ram_mb: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_disk_mb: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_events_ttl_days: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_max_disk_size_mb: Mapped[int | None]
    valid_from: Mapped[CreatedAt]
    valid_to: Mapped[datetime | None]
    added_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)


class ProjectLimits(Base):
    """A team's own limits, in place of tier and addons."""

    __tablename__ = "project_limits"

    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    max_length_hours: Mapped[int]
    concurrent_sandboxes: Mapped[int]
    concurrent_template_builds: Mapped[int]
    max_vcpu: Mapped[int]
    max_ram_mb: Mapped[int]
    disk_mb: Mapped[int]
    events_ttl_days: Mapped[int]
    default_free_disk_size_mb: Mapped[int]
    max_disk_size_mb: Mapped[int]
    updated_at: Mapped[CreatedAt]


class AccountVersion(Base):
    """One row, which triggers count up with every change that makes a cached account wrong. Ours, not E2B's."""

    __tablename__ = "account_version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
