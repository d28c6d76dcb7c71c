"""What a failing database means to a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sandbank.domain.errors import InternalError, UnavailableError


@contextmanager
def translated() -> Iterator[None]:
    """Raise domain errors in place of the driver's and SQLAlchemy's."""
    try:
        yield
    except (OSError, DBAPIError) as error:
        raise UnavailableError("the database does not answer") from error
    except SQLAlchemyError as error:
        raise InternalError("the database failed") from error
