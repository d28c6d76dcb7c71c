"""One pair of axes as a chart: what kind it is, what its axes say, and its elements."""

from __future__ import annotations

import re
from typing import Any

from . import boxes, coordinates, elements

_UNIT = re.compile(r"\s\(([^)]*)\)|\[([^\]]*)\]")

_PAIRS = {"line": elements.lines, "scatter": elements.points}


def is_blank(axes: Any) -> bool:
    """Whether nothing was ever drawn on it."""
    return not (axes.lines or axes.collections or axes.patches or axes.images or axes.tables or axes.texts or axes.containers)


def chart_of_axes(axes: Any) -> dict[str, Any]:
    """A chart of type `unknown` has no elements."""
    kind = _kind(axes)
    chart: dict[str, Any] = {"type": kind, "title": axes.get_title()}
    if kind == "pie":
        return chart | {"elements": elements.wedges(axes)}
    if kind == "unknown":
        return chart | {"elements": []}
    chart |= _label("x", axes.get_xlabel()) | _label("y", axes.get_ylabel())
    if kind in _PAIRS:
        return chart | _ticks("x", axes.xaxis) | _ticks("y", axes.yaxis) | {"elements": _PAIRS[kind](axes)}
    return chart | {"elements": elements.bars(axes) if kind == "bar" else boxes.boxes(axes)}


def _kind(axes: Any) -> str:
    of_errors = elements.error_bar_artists(axes)
    artists = [*axes.collections, *axes.patches, *axes.images, *elements.data_lines(axes)]
    drawn = {type(artist).__name__ for artist in artists if artist not in of_errors}
    if drawn == {"Line2D"}:
        return "box_and_whisker" if boxes.outlines(axes) else "line"
    if drawn == {"PathPatch", "Line2D"}:
        return "box_and_whisker"
    return {"PathCollection": "scatter", "Wedge": "pie", "Rectangle": "bar"}.get("".join(drawn), "unknown")


def _label(axis: str, text: str) -> dict[str, Any]:
    found = _UNIT.search(text)
    return {f"{axis}_label": text or None, f"{axis}_unit": (found.group(1) or found.group(2) or None) if found else None}


def _ticks(name: str, axis: Any) -> dict[str, Any]:
    return {
        f"{name}_ticks": coordinates.values(axis, axis.get_ticklocs()),
        f"{name}_tick_labels": [label.get_text() for label in axis.get_ticklabels()],
        f"{name}_scale": coordinates.scale(axis),
    }
