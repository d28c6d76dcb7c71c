"""Our error categories as gRPC statuses and back: the one place where the two meet."""

from __future__ import annotations

from collections.abc import Iterable

from sandbank.rpc import environment  # noqa: F401  # before the library is loaded

# isort: split
import grpc
import grpc.aio

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

ORIGIN_KEY = "sandbank-error"
"""Trailing metadata that tells a status set by a service's code from one made up by the transport."""
CODE_KEY = "sandbank-error-code"

STATUS_OF_CATEGORY: dict[type[SandbankError], grpc.StatusCode] = {
    InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    DeniedError: grpc.StatusCode.PERMISSION_DENIED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    ExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    InternalError: grpc.StatusCode.INTERNAL,
}

CATEGORY_OF_STATUS: dict[grpc.StatusCode, type[SandbankError]] = {
    **{status: category for category, status in STATUS_OF_CATEGORY.items()},
    grpc.StatusCode.OUT_OF_RANGE: InvalidError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}
"""What is missing (UNKNOWN, UNIMPLEMENTED, DATA_LOSS) means that a peer is broken, which is `InternalError` to our caller."""


def status_of(error: SandbankError) -> grpc.StatusCode:
    """The status a service answers with; subclasses of a category count as the category."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF_CATEGORY:
            return STATUS_OF_CATEGORY[kind]
    return grpc.StatusCode.INTERNAL


def trailers_of(error: SandbankError) -> tuple[tuple[str, str], ...]:
    """Trailing metadata that lets `error_of` rebuild `error` on the other side."""
    trailers: tuple[tuple[str, str], ...] = ((ORIGIN_KEY, "1"),)
    if error.error_code is not None:
        trailers += ((CODE_KEY, error.error_code),)
    return trailers


def error_of(failure: grpc.aio.AioRpcError, peer: str) -> SandbankError:
    """What a failed call to `peer` means to our own caller.

    A message that the peer's code chose is kept. One that the transport made up names addresses and library internals, so ours replaces it.
    """
    status = failure.code()
    category = CATEGORY_OF_STATUS.get(status, InternalError)
    trailers: Iterable[tuple[str, str | bytes]] = failure.trailing_metadata() or ()  # type: ignore[assignment]  # the stubs lack __iter__
    metadata = dict(trailers)
    if ORIGIN_KEY in metadata:
        code = metadata.get(CODE_KEY)
        return category(failure.details() or category.__name__, error_code=code if isinstance(code, str) else None)
    if category is DeadlineError:
        return DeadlineError(f"{peer} did not answer in time")
    if category is UnavailableError:
        return UnavailableError(f"{peer} cannot be reached")
    if category is InternalError:
        return InternalError(f"{peer} failed")
    # A status of the caller's making from a peer that is not ours: E2B's own tools set no trailers.
    return category(failure.details() or f"{peer} refused")
