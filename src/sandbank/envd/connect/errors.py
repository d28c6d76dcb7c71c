"""Connect's error codes, and which of them each category of ours becomes."""

from __future__ import annotations

from typing import Any

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

HTTP_STATUS = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}

_CODES: dict[type[SandbankError], str] = {
    InvalidError: "invalid_argument",
    UnauthenticatedError: "unauthenticated",
    DeniedError: "permission_denied",
    NotFoundError: "not_found",
    ConflictError: "already_exists",
    ExhaustedError: "resource_exhausted",
    UnavailableError: "unavailable",
    DeadlineError: "deadline_exceeded",
    InternalError: "internal",
}


MAX_MESSAGE_CHARACTERS = 4096  # some messages quote the input


def code_of(error: SandbankError) -> str:
    """The Connect code; an `error_code` that is one is finer than the category and wins."""
    if error.error_code in HTTP_STATUS:
        return error.error_code
    return next((code for category, code in _CODES.items() if isinstance(error, category)), "unknown")


def describe(error: SandbankError) -> dict[str, Any]:
    """The JSON form of an error, the same in a unary body and in an end-of-stream envelope."""
    message = error.message[:MAX_MESSAGE_CHARACTERS]
    return {"code": code_of(error), "message": message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")}
