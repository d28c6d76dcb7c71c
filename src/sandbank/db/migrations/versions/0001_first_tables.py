"""The first tables: accounts, templates, builds, snapshots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandbank.db.columns import Json, TextList, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATUS_GROUP = (
    "CASE WHEN status IN ('waiting', 'pending') THEN 'pending'"
    " WHEN status IN ('building', 'in_progress', 'snapshotting') THEN 'in_progress'"
    " WHEN status IN ('uploaded', 'success', 'ready') THEN 'ready'"
    " ELSE 'failed' END"
)

# Limit by limit: the view's column, the tier's, the addons' (if they can add to it).
_LIMITS = (
    ("max_length_hours", "max_length_hours", None),
    ("concurrent_sandboxes", "concurrent_instances", "extra_concurrent_sandboxes"),
    ("concurrent_template_builds", "concurrent_template_builds", "extra_concurrent_template_builds"),
    ("max_vcpu", "max_vcpu", "extra_max_vcpu"),
    ("max_ram_mb", "max_ram_mb", "extra_max_ram_mb"),
    ("disk_mb", "disk_mb", "extra_disk_mb"),
    ("events_ttl_days", "events_ttl_days", "extra_events_ttl_days"),
    ("default_free_disk_size_mb", "default_free_disk_size_mb", None),
    ("max_disk_size_mb", "max_disk_size_mb", "extra_max_disk_size_mb"),
)


def upgrade() -> None:
    """Create everything, referred-to tables first."""
    _create_accounts()
    _create_credentials()
    _create_limits()
    _create_templates()
    _create_builds()
    _create_snapshots()
    _create_views()


def _create_accounts() -> None:
    op.create_table(
        "tiers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("disk_mb", sa.BigInteger(), server_default="512", nullable=False),
        sa.Column("concurrent_instances", sa.BigInteger(), nullable=False),
        sa.Column("max_length_hours", sa.BigInteger(), nullable=False),
        sa.Column("max_vcpu", sa.BigInteger(), server_default="8", nullable=False),
        sa.Column("max_ram_mb", sa.BigInteger(), server_default="8192", nullable=False),
        sa.Column("concurrent_template_builds", sa.BigInteger(), server_default="20", nullable=False),
        sa.Column("events_ttl_days", sa.BigInteger(), server_default="7", nullable=False),
        sa.Column("default_free_disk_size_mb", sa.BigInteger(), nullable=False),
        sa.Column("max_disk_size_mb", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("concurrent_instances > 0", name=op.f("ck_tiers_concurrent_instances")),
        sa.CheckConstraint("concurrent_template_builds > 0", name=op.f("ck_tiers_concurrent_template_builds")),
        sa.CheckConstraint("disk_mb > 0", name=op.f("ck_tiers_disk_mb")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tiers")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("is_blocked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_banned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("sandbox_scheduling_labels", TextList, nullable=False),
        sa.ForeignKeyConstraint(["tier"], ["tiers.id"], name=op.f("fk_teams_tier_tiers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("slug", name=op.f("uq_teams_slug")),
    )
    op.create_table(
        "users_teams",
        sa.Column("id", sa.BigInteger(), nullable=True),
        sa.Column("uuid_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["added_by"], ["users.id"], name=op.f("fk_users_teams_added_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_users_teams_team_id_teams"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_users_teams_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uuid_id", name=op.f("pk_users_teams")),
        sa.UniqueConstraint("team_id", "user_id", name=op.f("uq_users_teams_team_id_user_id")),
    )
    op.create_index(op.f("ix_users_teams_user_id"), "users_teams", ["user_id"])
    op.create_index(
        "uq_users_teams_default",
        "users_teams",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("is_default"),
        sqlite_where=sa.text("is_default"),
    )


def _create_credentials() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("name", sa.Text(), server_default="Unnamed Access Token", nullable=False),
        sa.Column("access_token_hash", sa.Text(), nullable=False),
        sa.Column("access_token_prefix", sa.String(length=10), nullable=False),
        sa.Column("access_token_length", sa.Integer(), nullable=False),
        sa.Column("access_token_mask_prefix", sa.String(length=5), nullable=False),
        sa.Column("access_token_mask_suffix", sa.String(length=5), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_access_tokens_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("access_token_hash", name=op.f("uq_access_tokens_access_token_hash")),
    )
    op.create_index(op.f("ix_access_tokens_user_id"), "access_tokens", ["user_id"])
    op.create_table(
        "team_api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=True),
        sa.Column("name", sa.Text(), server_default="Unnamed API Key", nullable=False),
        sa.Column("last_used", UtcDateTime(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("api_key_hash", sa.Text(), nullable=False),
        sa.Column("api_key_prefix", sa.String(length=10), nullable=False),
        sa.Column("api_key_length", sa.Integer(), nullable=False),
        sa.Column("api_key_mask_prefix", sa.String(length=5), nullable=False),
        sa.Column("api_key_mask_suffix", sa.String(length=5), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_team_api_keys_created_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_api_keys_team_id_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_api_keys")),
        sa.UniqueConstraint("api_key_hash", name=op.f("uq_team_api_keys_api_key_hash")),
    )
    op.create_index(op.f("ix_team_api_keys_team_id"), "team_api_keys", ["team_id"])


def _create_limits() -> None:
    op.create_table(
        "addons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("extra_concurrent_sandboxes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_concurrent_template_builds", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_max_vcpu", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_max_ram_mb", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_disk_mb", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_events_ttl_days", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("extra_max_disk_size_mb", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("valid_to", UtcDateTime(), nullable=True),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["added_by"], ["users.id"], name=op.f("fk_addons_added_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_addons_team_id_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addons")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_addons_idempotency_key")),
    )
    op.create_index(op.f("ix_addons_team_id"), "addons", ["team_id"])
    op.create_table(
        "project_limits",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("max_length_hours", sa.BigInteger(), nullable=False),
        sa.Column("concurrent_sandboxes", sa.BigInteger(), nullable=False),
        sa.Column("concurrent_template_builds", sa.BigInteger(), nullable=False),
        sa.Column("max_vcpu", sa.BigInteger(), nullable=False),
        sa.Column("max_ram_mb", sa.BigInteger(), nullable=False),
        sa.Column("disk_mb", sa.BigInteger(), nullable=False),
        sa.Column("events_ttl_days", sa.BigInteger(), nullable=False),
        sa.Column("default_free_disk_size_mb", sa.BigInteger(), nullable=False),
        sa.Column("max_disk_size_mb", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_project_limits_team_id_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_project_limits")),
    )


def _create_templates() -> None:
    op.create_table(
        "envs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("public", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("build_count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("spawn_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_spawned_at", UtcDateTime(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), server_default="template", nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_envs_created_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_envs_team_id_teams")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_envs")),
    )
    op.create_index("ix_envs_team_id_source", "envs", ["team_id", "source", "created_at", "id"])
    op.create_table(
        "env_aliases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("env_id", sa.Text(), nullable=False),
        sa.Column("is_renamable", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.ForeignKeyConstraint(["env_id"], ["envs.id"], name=op.f("fk_env_aliases_env_id_envs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_env_aliases")),
    )
    op.create_index(op.f("ix_env_aliases_env_id"), "env_aliases", ["env_id"])
    op.create_index("uq_env_aliases_alias_namespace", "env_aliases", ["alias", "namespace"], unique=True)
    op.create_index(
        "uq_env_aliases_promoted",
        "env_aliases",
        ["alias"],
        unique=True,
        postgresql_where=sa.text("namespace IS NULL"),
        sqlite_where=sa.text("namespace IS NULL"),
    )


def _create_builds() -> None:
    op.create_table(
        "env_builds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("status_group", sa.Text(), sa.Computed(_STATUS_GROUP, persisted=True), nullable=False),
        sa.Column("dockerfile", sa.Text(), nullable=True),
        sa.Column("start_cmd", sa.Text(), nullable=True),
        sa.Column("ready_cmd", sa.Text(), nullable=True),
        sa.Column("vcpu", sa.BigInteger(), nullable=False),
        sa.Column("ram_mb", sa.BigInteger(), nullable=False),
        sa.Column("free_disk_size_mb", sa.BigInteger(), nullable=False),
        sa.Column("total_disk_size_mb", sa.BigInteger(), nullable=True),
        sa.Column("kernel_version", sa.Text(), server_default="vmlinux-5.10.186", nullable=False),
        sa.Column("firecracker_version", sa.Text(), nullable=False),
        sa.Column("envd_version", sa.Text(), nullable=True),
        sa.Column("env_id", sa.Text(), nullable=True),
        sa.Column("cluster_node_id", sa.Text(), nullable=True),
        sa.Column("reason", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("cpu_architecture", sa.Text(), nullable=True),
        sa.Column("cpu_family", sa.Text(), nullable=True),
        sa.Column("cpu_model", sa.Text(), nullable=True),
        sa.Column("cpu_model_name", sa.Text(), nullable=True),
        sa.Column("cpu_flags", TextList, nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_env_builds")),
    )
    op.create_index(op.f("ix_env_builds_env_id"), "env_builds", ["env_id"])
    op.create_index("ix_env_builds_team_id_status_group", "env_builds", ["team_id", "status_group"])
    op.create_table(
        "env_build_assignments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("env_id", sa.Text(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), server_default="app", nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["build_id"], ["env_builds.id"], name=op.f("fk_env_build_assignments_build_id_env_builds"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["env_id"], ["envs.id"], name=op.f("fk_env_build_assignments_env_id_envs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_env_build_assignments")),
    )
    op.create_index(op.f("ix_env_build_assignments_build_id"), "env_build_assignments", ["build_id"])
    op.create_index("ix_env_build_assignments_env_id_tag", "env_build_assignments", ["env_id", "tag", "created_at", "build_id"])
    op.create_table(
        "active_template_builds",
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("template_id", sa.Text(), nullable=False),
        sa.Column("tags", TextList, nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["template_id"], ["envs.id"], name=op.f("fk_active_template_builds_template_id_envs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("build_id", name=op.f("pk_active_template_builds")),
    )
    op.create_index("ix_active_template_builds_team_id_created_at", "active_template_builds", ["team_id", "created_at"])


def _create_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("env_id", sa.Text(), nullable=False),
        sa.Column("sandbox_id", sa.Text(), nullable=False),
        sa.Column("metadata", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("base_env_id", sa.Text(), nullable=False),
        sa.Column("sandbox_started_at", UtcDateTime(), nullable=False),
        sa.Column("env_secure", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("origin_node_id", sa.Text(), nullable=False),
        sa.Column("allow_internet_access", sa.Boolean(), nullable=True),
        sa.Column("auto_pause", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("config", Json, nullable=True),
        sa.ForeignKeyConstraint(["base_env_id"], ["envs.id"], name=op.f("fk_snapshots_base_env_id_envs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["env_id"], ["envs.id"], name=op.f("fk_snapshots_env_id_envs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_snapshots_team_id_teams")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("sandbox_id", name=op.f("uq_snapshots_sandbox_id")),
    )
    op.create_index(op.f("ix_snapshots_base_env_id"), "snapshots", ["base_env_id"])
    op.create_index(op.f("ix_snapshots_env_id"), "snapshots", ["env_id"])
    op.create_index("ix_snapshots_team_id_sandbox_started_at", "snapshots", ["team_id", "sandbox_started_at", "sandbox_id"])
    op.create_table(
        "snapshot_templates",
        sa.Column("env_id", sa.Text(), nullable=False),
        sa.Column("sandbox_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("origin_node_id", sa.Text(), nullable=True),
        sa.Column("build_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["env_id"], ["envs.id"], name=op.f("fk_snapshot_templates_env_id_envs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("env_id", name=op.f("pk_snapshot_templates")),
    )
    op.create_index(op.f("ix_snapshot_templates_sandbox_id"), "snapshot_templates", ["sandbox_id"])


def _create_views() -> None:
    columns = []
    for name, tier, addon in _LIMITS:
        extra = f" + CAST(COALESCE(SUM(addons.{addon}), 0) AS BIGINT)" if addon else ""
        columns.append(f"COALESCE(MAX(project_limits.{name}), MAX(tiers.{tier}){extra}) AS {name}")
    op.execute(
        f"CREATE VIEW team_limits AS SELECT teams.id AS id, {', '.join(columns)} FROM teams"  # noqa: S608  # names from the table above
        " JOIN tiers ON tiers.id = teams.tier"
        " LEFT JOIN project_limits ON project_limits.team_id = teams.id"
        " LEFT JOIN addons ON addons.team_id = teams.id AND addons.valid_from <= CURRENT_TIMESTAMP"
        " AND (addons.valid_to IS NULL OR addons.valid_to > CURRENT_TIMESTAMP)"
        " GROUP BY teams.id"
    )
    op.execute("CREATE VIEW active_envs AS SELECT * FROM envs WHERE deleted_at IS NULL")


def downgrade() -> None:
    """Drop everything, referring tables first."""
    for view in ("active_envs", "team_limits"):
        op.execute(f"DROP VIEW {view}")
    for table in (
        "snapshot_templates",
        "snapshots",
        "active_template_builds",
        "env_build_assignments",
        "env_builds",
        "env_aliases",
        "envs",
        "project_limits",
        "addons",
        "team_api_keys",
        "access_tokens",
        "users_teams",
        "teams",
        "users",
        "tiers",
    ):
        op.drop_table(table)
