"""A pandas DataFrame as `e2b/data`: its columns as lists."""

from __future__ import annotations

from typing import Any

from .plain import TooLargeError, plain

MOST_CELLS = 1_000_000


def columns_of(frame: Any) -> dict[str, Any] | None:
    """Times in ISO's format, what is missing as null, and what has no other form as text; None for a table beyond all measure."""
    if frame.size > MOST_CELLS:
        return None
    return {_name(column): [_cell(value) for value in frame.iloc[:, position].tolist()] for position, column in enumerate(frame.columns)}


def _name(column: Any) -> str:
    return column if isinstance(column, str) else str(column)


def _cell(value: Any) -> Any:
    try:
        return plain(value)
    except TooLargeError:
        return None
    except (TypeError, ValueError):
        text = str(value)
        return None if text in {"NaT", "<NA>"} else text
