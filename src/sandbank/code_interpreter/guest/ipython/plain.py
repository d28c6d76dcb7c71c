"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any

MOST_VALUES = 2_000_000


class TooLargeError(ValueError):
    """There is more than a client could want to look at."""


def plain(value: Any) -> Any:
    """Numbers, texts, lists and objects only; raises `TooLargeError`, and `TypeError` for what JSON has no form for."""
    return _Walk().of(value)


class _Walk:
    def __init__(self) -> None:
        self._left = MOST_VALUES

    def of(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooLargeError
        if value is None or isinstance(value, (bool, str)):
            return value if not isinstance(value, str) else str(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return {self._key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.of(item) for item in value]
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, (date, time)):  # of which pandas' timestamps are some
            return value.isoformat() if value == value else None
        if isinstance(value, timedelta):
            return value.total_seconds()
        if hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy
            if value.dtype.kind in "mM":
                return [self.of(item) for item in value.astype(str).tolist()] if getattr(value, "ndim", 0) else str(value)
            return self.of(value.tolist())
        raise TypeError(f"no JSON for {type(value).__name__}")

    @staticmethod
    def _key(key: Any) -> str:
        if isinstance(key, str):
            return key
        if key is None or isinstance(key, (bool, int, float)):
            return str(key)
        return key.isoformat() if hasattr(key, "isoformat") else str(key)
