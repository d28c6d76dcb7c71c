"""What a failing database means to a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sandbank.db.failures import UNUSABLE, is_bad_value
from sandbank.domain.errors import ConflictError, InternalError, InvalidError, UnavailableError


@contextmanager
def translated() -> Iterator[None]:
    """Raise domain errors in place of the driver's and SQLAlchemy's."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError("it exists already, or something that it belongs to does not exist any more") from error
    except UNUSABLE as error:
        if is_bad_value(error):
            raise InvalidError("a value cannot be stored") from error
        raise UnavailableError("the database does not answer") from error
    except SQLAlchemyError as error:
        raise InternalError("the database failed") from error
