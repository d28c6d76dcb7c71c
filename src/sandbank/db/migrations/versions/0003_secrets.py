"""Secrets, their values sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandbank.db.columns import Json, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "secrets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("current_version", sa.BigInteger(), nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_secrets_team_id_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
        sa.UniqueConstraint("team_id", "name", name=op.f("uq_secrets_team_id_name")),
    )
    op.create_index(op.f("ix_secrets_key_id"), "secrets", ["key_id"])


def downgrade() -> None:
    """Every secret is lost."""
    op.drop_table("secrets")
