"""The errors that clients can see, by category and without transport.

The two edges (HTTP and gRPC) each map a category to their own status in one table. Adapters translate third-party exceptions into
these with ``raise … from``.
"""

from __future__ import annotations


class SandbankError(Exception):
    """Base of every error with a meaning for a client; `message` is what the client reads."""

    def __init__(
        self, message: str, *, error_code: str | None = None, should_retry: bool | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code
        # What we know better than a status code says: False for a failure that sending again cannot cure or might repeat the effect of.
        self.should_retry = should_retry
        self.retry_after_seconds = retry_after_seconds


class InvalidError(SandbankError):
    """The request itself is wrong; sending it again will not help."""


class UnauthenticatedError(SandbankError):
    """Nobody we know sent this."""


class DeniedError(SandbankError):
    """We know who sent this, and they may not do it."""


class NotFoundError(SandbankError):
    """The thing does not exist, or not for this caller."""


class ConflictError(SandbankError):
    """The thing is in a state that does not allow this."""


class ExhaustedError(SandbankError):
    """A quota or a limit is reached."""


class UnavailableError(SandbankError):
    """Nothing is wrong with the request, but it cannot be served at this moment."""


class DeadlineError(SandbankError):
    """It took longer than it may."""


class InternalError(SandbankError):
    """Our own fault."""
