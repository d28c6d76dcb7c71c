"""Teams' secrets. E2B keeps these in a closed service: the table is our own."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sandbank.db import models_accounts  # noqa: F401  # without the tables that keys refer to, these have no type
from sandbank.db.base import Base, CreatedAt, UuidKey
from sandbank.db.columns import Json


class Secret(Base):
    """A secret with its newest value, sealed by a key of its own, which the installation's key `key_id` has wrapped."""

    __tablename__ = "secrets"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[UuidKey]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(128))
    current_version: Mapped[int]
    # `metadata` is SQLAlchemy's own name on a model.
    labels: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    key_id: Mapped[str] = mapped_column(String(32), index=True)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_value: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime]
