"""What Alembic runs to get at our connection and our models."""

from __future__ import annotations

from typing import Any

from alembic import context

import sandbank.db.models_accounts
import sandbank.db.models_places
import sandbank.db.models_secrets
import sandbank.db.models_templates  # noqa: F401
from sandbank.db.base import Base


def _is_compared(_object: Any, name: str | None, kind: str, _reflected: bool, _compared_to: Any) -> bool:
    # How this one gets its value differs from dialect to dialect.
    return not (kind == "column" and name == "status_group")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a column: copy and move instead.
    render_as_batch=True,
    compare_type=True,
    include_object=_is_compared,
)

with context.begin_transaction():
    context.run_migrations()
