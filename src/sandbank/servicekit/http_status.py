"""The HTTP status of each category of error, for every HTTP edge (rest-api contract §2)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    DeniedError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnauthenticatedError,
    UnavailableError,
)

STATUS_OF_CATEGORY: Mapping[type[SandbankError], int] = {
    InvalidError: 400,
    UnauthenticatedError: 401,
    DeniedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    ExhaustedError: 429,
    InternalError: 500,
    UnavailableError: 503,
    DeadlineError: 504,
}


def status_of(error: SandbankError, table: Mapping[type[SandbankError], int] = STATUS_OF_CATEGORY) -> int:
    """By the nearest category in `table`, which an edge may have more in."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), 500)
