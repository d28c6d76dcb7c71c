"""Identities, volumes and clusters; defaults and triggers that let tools insert as they do into E2B's schema; a mark of changed accounts.

SQLite gets what it can have without copying tables: there a row brings its ID (32 hexadecimal digits) and a team its slug.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandbank.db.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ENV_COLUMNS = (
    "id, created_at, updated_at, public, build_count, spawn_count, last_spawned_at, team_id, created_by, cluster_id, source"  # the view's
)

# What an account cached by a service depends on, and which changes of it make that cache wrong. A new key does not; its use does not.
_ACCOUNT_CHANGES = (
    ("teams", ("UPDATE", "DELETE")),
    ("tiers", ("UPDATE",)),
    ("addons", ("INSERT", "UPDATE", "DELETE")),
    ("project_limits", ("INSERT", "UPDATE", "DELETE")),
    ("users_teams", ("UPDATE", "DELETE")),
    ("user_identities", ("UPDATE", "DELETE")),
    ("team_api_keys", ("UPDATE OF team_id, api_key_hash", "DELETE")),
    ("access_tokens", ("UPDATE OF user_id, access_token_hash", "DELETE")),
)

_UUID_KEYS = (
    ("users", "id"),
    ("teams", "id"),
    ("users_teams", "uuid_id"),
    ("team_api_keys", "id"),
    ("access_tokens", "id"),
    ("addons", "id"),
    ("env_aliases", "id"),
    ("env_builds", "id"),
    ("env_build_assignments", "id"),
    ("snapshots", "id"),
    ("volumes", "id"),
    ("clusters", "id"),
)

_STATUS_GROUP = (
    "CASE WHEN {0}status IN ('waiting', 'pending') THEN 'pending'"
    " WHEN {0}status IN ('building', 'in_progress', 'snapshotting') THEN 'in_progress'"
    " WHEN {0}status IN ('uploaded', 'success', 'ready') THEN 'ready'"
    " ELSE 'failed' END"
)

_TIER_CHECKS = (
    ("events_ttl_days", "events_ttl_days > 0"),
    ("max_disk_size_mb", "max_disk_size_mb > 0"),
    ("default_free_disk_size_mb", "default_free_disk_size_mb >= 0 AND default_free_disk_size_mb <= max_disk_size_mb"),
)

_POSTGRES_FUNCTIONS = (
    """
    CREATE OR REPLACE FUNCTION try_cast_uuid(value text) RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN value::uuid;
    EXCEPTION WHEN invalid_text_representation THEN
        RETURN NULL;
    END $$
    """,
    # `COLLATE "C"`: in some languages the small letter of I is another one.
    r"""
    CREATE OR REPLACE FUNCTION generate_team_slug() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        plain text := split_part(NEW.name, '@', 1);
        base text;
    BEGIN
        IF coalesce(NEW.slug, '') <> '' THEN
            RETURN NEW;
        END IF;
        IF current_setting('server_encoding') = 'UTF8' THEN
            plain := normalize(plain, NFKD);
        END IF;
        base := lower(regexp_replace(plain, '[^a-zA-Z0-9\s-]', '', 'g') COLLATE "C");
        base := trim(both '-' from regexp_replace(base, '[\s-]+', '-', 'g'));
        base := coalesce(nullif(base, ''), 'team');
        NEW.slug := base;
        WHILE EXISTS (SELECT 1 FROM teams WHERE slug = NEW.slug) LOOP
            NEW.slug := base || '-' || substr(md5(gen_random_uuid()::text), 1, 4);
        END LOOP;
        RETURN NEW;
    END $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION compute_status_group() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.status_group := {_STATUS_GROUP.format("NEW.")};
        RETURN NEW;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION backfill_env_build() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE env_builds
        SET env_id = coalesce(env_id, NEW.env_id), team_id = coalesce(team_id, (SELECT team_id FROM envs WHERE id = NEW.env_id))
        WHERE id = NEW.build_id AND (env_id IS NULL OR team_id IS NULL);
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION complete_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.metadata IS NULL OR NEW.metadata = 'null'::jsonb THEN
            NEW.metadata := '{}'::jsonb;
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION mark_snapshot_env() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE envs SET source = 'snapshot' WHERE id = NEW.env_id;
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION account_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE account_version SET version = version + 1;
        RETURN NULL;
    END $$
    """,
)

_POSTGRES_TRIGGERS = (
    ("generate_team_slug", "teams", "BEFORE INSERT", "ROW"),
    ("compute_status_group", "env_builds", "BEFORE INSERT OR UPDATE", "ROW"),
    ("backfill_env_build", "env_build_assignments", "AFTER INSERT", "ROW"),
    ("complete_snapshot", "snapshots", "BEFORE INSERT OR UPDATE", "ROW"),
    ("mark_snapshot_env", "snapshots", "AFTER INSERT", "ROW"),
    *(("account_changed", table, f"AFTER {' OR '.join(events)}", "STATEMENT") for table, events in _ACCOUNT_CHANGES),
)

# Where a user's address is kept that signed up elsewhere. It may be there already, filled by others, and is never dropped.
_AUTH_USERS = """
    DO $$
    BEGIN
        CREATE SCHEMA IF NOT EXISTS auth;
        CREATE TABLE IF NOT EXISTS auth.users (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            email text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            raw_app_meta_data jsonb,
            raw_user_meta_data jsonb
        );
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'no schema auth: only the owner of the database may create one';
    END $$
"""

_SQLITE_TRIGGERS = (
    (
        "backfill_env_build",
        "AFTER INSERT ON env_build_assignments",
        (
            "UPDATE env_builds SET env_id = coalesce(env_id, NEW.env_id),"
            " team_id = coalesce(team_id, (SELECT team_id FROM envs WHERE id = NEW.env_id))"
            " WHERE id = NEW.build_id AND (env_id IS NULL OR team_id IS NULL)"
        ),
    ),
    ("mark_snapshot_env", "AFTER INSERT ON snapshots", "UPDATE envs SET source = 'snapshot' WHERE id = NEW.env_id"),
    (
        "complete_snapshot",
        "AFTER INSERT ON snapshots WHEN NEW.metadata = 'null'",
        "UPDATE snapshots SET metadata = '{}' WHERE id = NEW.id",
    ),
    *(
        (
            f"account_changed_{table}_{event.split()[0].lower()}",
            f"AFTER {event} ON {table}",
            "UPDATE account_version SET version = version + 1",
        )
        for table, events in _ACCOUNT_CHANGES
        for event in events
    ),
)


def upgrade() -> None:
    """Tables and columns on both, behaviour in the words of each."""
    _create_tables()
    op.add_column("teams", sa.Column("sso_organization_id", sa.Uuid(), nullable=True))
    op.add_column("teams", sa.Column("sso_auto_join", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("teams", sa.Column("profile_picture_url", sa.Text(), nullable=True))
    op.execute("DROP VIEW active_envs")
    op.execute(f"CREATE VIEW active_envs AS SELECT {_ENV_COLUMNS} FROM envs WHERE deleted_at IS NULL")  # noqa: S608  # a constant
    op.execute(
        "INSERT INTO tiers (id, name, concurrent_instances, max_length_hours, default_free_disk_size_mb, max_disk_size_mb)"
        " VALUES ('base_v1', 'Base tier', 20, 1, 512, 25600) ON CONFLICT (id) DO NOTHING"
    )
    op.execute("INSERT INTO account_version (id, version) VALUES (1, 0)")
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgres()
    else:
        for name, when, what in _SQLITE_TRIGGERS:
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN {what}; END")


def _create_tables() -> None:
    op.create_table(
        "user_identities",
        sa.Column("oidc_iss", sa.Text(), nullable=False),
        sa.Column("oidc_sub", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_identities_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("oidc_iss", "oidc_sub", name=op.f("pk_user_identities")),
        sa.UniqueConstraint("user_id", "oidc_iss", name=op.f("uq_user_identities_user_id_oidc_iss")),
    )
    op.create_table(
        "clusters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("endpoint_tls", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("sandbox_proxy_domain", sa.Text(), nullable=True),
        sa.Column("auth_org_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("auth_org_id", name=op.f("uq_clusters_auth_org_id")),
    )
    op.create_table(
        "volumes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("volume_type", sa.String(length=250), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_volumes_team_id_teams")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sa.UniqueConstraint("team_id", "name", name=op.f("uq_volumes_team_id_name")),
    )
    op.create_table(
        "env_defaults",
        sa.Column("env_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["env_id"], ["envs.id"], name=op.f("fk_env_defaults_env_id_envs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("env_id", name=op.f("pk_env_defaults")),
    )
    op.create_table(
        "account_version",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_version")),
    )


def _upgrade_postgres() -> None:
    for table, column in _UUID_KEYS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT gen_random_uuid()")
    op.execute("ALTER TABLE teams ALTER COLUMN sandbox_scheduling_labels SET DEFAULT '{}'")
    op.execute("CREATE SEQUENCE users_teams_id_seq OWNED BY users_teams.id")
    op.execute("ALTER TABLE users_teams ALTER COLUMN id SET DEFAULT nextval('users_teams_id_seq')")
    for name, condition in _TIER_CHECKS:
        op.execute(f"ALTER TABLE tiers ADD CONSTRAINT ck_tiers_{name} CHECK ({condition})")
    # A column that others may name in an INSERT, and that is right all the same.
    op.execute("ALTER TABLE env_builds ALTER COLUMN status_group DROP EXPRESSION")
    for function in _POSTGRES_FUNCTIONS:
        op.execute(function)
    for name, table, when, each in _POSTGRES_TRIGGERS:
        op.execute(f"CREATE TRIGGER {name} {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {name}()")
    op.execute(_AUTH_USERS)


def downgrade() -> None:
    """Back to what `0001` made; identities, volumes and clusters are lost."""
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        _downgrade_postgres()
    else:
        for name, _, _ in _SQLITE_TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
    op.execute("DROP VIEW active_envs")
    op.execute("CREATE VIEW active_envs AS SELECT * FROM envs WHERE deleted_at IS NULL")
    for column in ("sso_organization_id", "sso_auto_join", "profile_picture_url"):
        op.drop_column("teams", column)
    for table in ("account_version", "env_defaults", "volumes", "clusters", "user_identities"):
        op.drop_table(table)


def _downgrade_postgres() -> None:
    for name, table, _, _ in _POSTGRES_TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {table}")
    for name in {name for name, _, _, _ in _POSTGRES_TRIGGERS}:
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP FUNCTION try_cast_uuid(text)")
    op.execute("ALTER TABLE env_builds DROP COLUMN status_group")
    op.execute(f"ALTER TABLE env_builds ADD COLUMN status_group text NOT NULL GENERATED ALWAYS AS ({_STATUS_GROUP.format('')}) STORED")
    op.create_index("ix_env_builds_team_id_status_group", "env_builds", ["team_id", "status_group"])
    for name, _ in _TIER_CHECKS:
        op.execute(f"ALTER TABLE tiers DROP CONSTRAINT ck_tiers_{name}")
    op.execute("ALTER TABLE users_teams ALTER COLUMN id DROP DEFAULT")
    op.execute("DROP SEQUENCE users_teams_id_seq")
    op.execute("ALTER TABLE teams ALTER COLUMN sandbox_scheduling_labels DROP DEFAULT")
    for table, column in _UUID_KEYS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")
