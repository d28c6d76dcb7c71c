"""Positions along an axis as clients see them: numbers, ISO times, or names of categories."""

from __future__ import annotations

from typing import Any

SCALES = {"linear", "log", "symlog", "logit", "function", "functionlog", "asinh"}


def scale(axis: Any) -> str:
    """One of the contract's scales."""
    converter = _converter(axis)
    if "Category" in converter:
        return "categorical"
    if any(word in converter for word in ("Date", "Period", "Time")):
        return "datetime"
    found = axis.get_scale()
    return found if found in SCALES else "unknown"


def values(axis: Any, positions: Any) -> list[Any]:
    """What these positions mean; what was given as a time or a name stays one."""
    kind = scale(axis)
    names = {position: name for name, position in axis.units._mapping.items()} if kind == "categorical" else {}
    return [_value(kind, names, position) for position in positions]


def _value(kind: str, names: dict[int, str], position: Any) -> Any:
    if hasattr(position, "to_timestamp"):  # a pandas Period
        position = position.to_timestamp()
    if hasattr(position, "isoformat"):
        return position.isoformat()
    if isinstance(position, str):
        return str(position)
    if getattr(getattr(position, "dtype", None), "kind", "") == "M":  # numpy's datetime64
        return position.astype("datetime64[us]").item().isoformat() if position == position else None
    if kind == "datetime":
        from matplotlib.dates import num2date

        return num2date(position).replace(tzinfo=None).isoformat()
    if kind == "categorical":
        return names.get(round(float(position)), float(position))
    return _number(position)


def _number(position: Any) -> Any:
    item = position.item() if hasattr(position, "item") else position
    return item if isinstance(item, (int, float)) else float(item)


def _converter(axis: Any) -> str:
    found = axis.get_converter() if hasattr(axis, "get_converter") else axis.converter
    return type(found).__name__
