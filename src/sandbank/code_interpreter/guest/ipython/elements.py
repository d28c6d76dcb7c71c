"""Lines, points, bars and slices, read from the artists that draw them."""

from __future__ import annotations

from typing import Any

from . import coordinates

BAR_TICK_DISTANCE = 0.5  # grouped bars stand beside the tick that names them


def data_lines(axes: Any) -> list[Any]:
    """Lines through points of data; those across the whole axes (`axhline`, `axvline`) are not."""
    return [line for line in axes.lines if line.get_transform() == axes.transData]


def error_bar_artists(axes: Any) -> list[Any]:
    """Caps and bars of errors; they say nothing that charts have a place for."""
    found: list[Any] = []
    for container in axes.containers:
        if type(container).__name__ == "ErrorbarContainer":
            _, caps, bars_of_errors = container.lines
            found += [*caps, *bars_of_errors]
    return found


def lines(axes: Any) -> list[dict[str, Any]]:
    """Their points as they were given."""
    of_errors = error_bar_artists(axes)
    return [
        {
            "label": _label(line, "Line", index),
            "points": _pairs(
                coordinates.values(axes.xaxis, line.get_xdata(orig=True)), coordinates.values(axes.yaxis, line.get_ydata(orig=True))
            ),
        }
        for index, line in enumerate(line for line in data_lines(axes) if line not in of_errors)
    ]


def points(axes: Any) -> list[dict[str, Any]]:
    """One element for each call of `scatter`."""
    found = []
    for index, collection in enumerate(axes.collections):
        offsets = collection.get_offsets()
        pairs = _pairs(coordinates.values(axes.xaxis, offsets[:, 0]), coordinates.values(axes.yaxis, offsets[:, 1]))
        found.append({"label": _label(collection, "Scatter", index), "points": pairs})
    return found


def bars(axes: Any) -> list[dict[str, Any]]:
    """Each rectangle, with the name of the tick it stands at and the group it was drawn with."""
    found = []
    containers = [container for container in axes.containers if type(container).__name__ == "BarContainer"]
    for index, container in enumerate(containers):
        upright = container.orientation != "horizontal"
        axis = axes.xaxis if upright else axes.yaxis
        names = list(zip(axis.get_ticklocs(), (label.get_text() for label in axis.get_ticklabels()), strict=False))
        for bar in container.patches:
            start, width = (bar.get_x(), bar.get_width()) if upright else (bar.get_y(), bar.get_height())
            value = bar.get_height() if upright else bar.get_width()
            found.append({"label": _bar_name(axis, names, start + width / 2), "group": _label(container, "Group", index), "value": value})
    return found


def _bar_name(axis: Any, names: list[tuple[float, str]], center: float) -> str:
    if coordinates.scale(axis) == "datetime":
        return str(coordinates.values(axis, [center])[0])
    near = [(abs(position - center), name) for position, name in names if name and abs(position - center) <= BAR_TICK_DISTANCE]
    if near and all(abs(position - round(position)) < 1e-9 for position, _ in names):
        return min(near)[1]
    return f"{center:g}"


def wedges(axes: Any) -> list[dict[str, Any]]:
    """Angles are degrees."""
    return [{"label": _text(wedge), "angle": abs(wedge.theta2 - wedge.theta1), "radius": wedge.r} for wedge in axes.patches]


def _text(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _label(artist: Any, kind: str, index: int) -> str:
    return _text(artist) or f"{kind} {index}"


def _pairs(xs: list[Any], ys: list[Any]) -> list[list[Any]]:
    return [[x, y] for x, y in zip(xs, ys, strict=False)]
