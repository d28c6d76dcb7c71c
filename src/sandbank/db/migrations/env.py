"""What Alembic runs to get at our connection and our models."""

from __future__ import annotations

from alembic import context

import sandbank.db.models_accounts
import sandbank.db.models_templates  # noqa: F401
from sandbank.db.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a column: copy and move instead.
    render_as_batch=True,
    compare_type=True,
)

with context.begin_transaction():
    context.run_migrations()
