"""What all tables share."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, MetaData, Text, Uuid, func
from sqlalchemy.orm import DeclarativeBase, mapped_column

from sandbank.db.columns import UtcDateTime

# Names by rule, so that a migration can drop on one dialect what another one named.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base of every model."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        uuid.UUID: Uuid(),
        datetime: UtcDateTime(),
    }


def utc_now() -> datetime:
    """The time, as rows get it when no one gives another."""
    return datetime.now(UTC)


# `CURRENT_TIMESTAMP` so that tools which insert by hand need not name the column; ours bring microseconds.
CreatedAt = Annotated[datetime, mapped_column(UtcDateTime(), default=utc_now, server_default=func.now())]
UuidKey = Annotated[uuid.UUID, mapped_column(primary_key=True, default=uuid.uuid4)]
