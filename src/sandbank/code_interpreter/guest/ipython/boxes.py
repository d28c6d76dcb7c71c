"""Box plots: their numbers are nowhere but in where their lines are."""

from __future__ import annotations

from typing import Any

from . import elements

SAME = 1e-6


def outlines(axes: Any) -> list[Any]:
    """Boxes drawn as closed lines; none if anything else than a box plot's parts is there."""
    lines = elements.data_lines(axes)
    closed = [_corners(line) for line in lines if _is_closed(line)]
    others = [line for line in lines if not _is_closed(line)]
    return closed if closed and all(len(line.get_xdata()) == 2 or line.get_linestyle() == "None" for line in others) else []


def boxes(axes: Any) -> list[dict[str, Any]]:
    """One element per box, in the order of drawing."""
    found = [patch.get_path().vertices for patch in axes.patches if type(patch).__name__ == "PathPatch"] or outlines(axes)
    lines = [line for line in elements.data_lines(axes) if not _is_closed(line)]
    upright = _are_upright(found[0], lines)
    axis = axes.xaxis if upright else axes.yaxis
    names = list(zip(axis.get_ticklocs(), (label.get_text() for label in axis.get_ticklabels()), strict=False))
    parts = [_Part(line, upright=upright) for line in lines]
    return [_element([corner if upright else corner[::-1] for corner in box], parts, names) for box in found]


class _Part:
    """A whisker, cap, median or set of outliers, turned as if the box stood upright."""

    def __init__(self, line: Any, *, upright: bool) -> None:
        xs, ys = [float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()]
        self.places, self.values = (xs, ys) if upright else (ys, xs)
        self.is_markers = line.get_linestyle() == "None"

    def spans(self, left: float, right: float) -> float:
        """How much of the box's width it takes; negative when it belongs to another box."""
        slack = (right - left) * SAME
        if not self.places or min(self.places) < left - slack or max(self.places) > right + slack:
            return -1.0
        return (max(self.places) - min(self.places)) / (right - left)


def _element(box: list[Any], parts: list[_Part], names: list[tuple[float, str]]) -> dict[str, Any]:
    left, right = min(corner[0] for corner in box), max(corner[0] for corner in box)
    low, high = min(corner[1] for corner in box), max(corner[1] for corner in box)
    center = (left + right) / 2
    mine = [(part, part.spans(left, right)) for part in parts]
    # A mean may be drawn as a marker, too, and before the outliers.
    markers = [part for part, span in mine if span >= 0 and part.is_markers][-1:]
    whiskers = [value for part, span in mine if 0 <= span <= SAME and not part.is_markers for value in part.values]
    bottom, top = min([low, *whiskers]), max([high, *whiskers])
    # Caps are at the whiskers' ends; where a median is, too, it was drawn last.
    level = [part.values[0] for part, span in mine if span > SAME and not part.is_markers and low <= part.values[0] <= high]
    median = next((value for value in level if value not in {bottom, top}), level[-1] if level else (low + high) / 2)
    return {
        "label": next((name for position, name in names if left <= position <= right), f"{center:g}"),
        "min": bottom,
        "first_quartile": low,
        "median": median,
        "third_quartile": high,
        "max": top,
        "outliers": [value for part in markers for value in part.values if not bottom <= value <= top],
    }


def _is_closed(line: Any) -> bool:
    corners = _corners(line)
    return len(corners) >= 5 and tuple(corners[0]) == tuple(corners[-1]) and line.get_linestyle() != "None"


def _corners(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def _are_upright(box: Any, lines: list[Any]) -> bool:
    """Whiskers say it: from the middle of the box they lead out of it."""
    return _leads_out(box, lines, 1) or not _leads_out(box, lines, 0)


def _leads_out(box: Any, lines: list[Any], direction: int) -> bool:
    middle = (min(corner[1 - direction] for corner in box) + max(corner[1 - direction] for corner in box)) / 2
    low, high = min(corner[direction] for corner in box), max(corner[direction] for corner in box)
    for line in lines:
        corners = _corners(line)
        if len(corners) == 2 and line.get_linestyle() != "None" and all(abs(corner[1 - direction] - middle) < SAME for corner in corners):
            ends = [corner[direction] for corner in corners]
            if min(ends) < low or max(ends) > high:
                return True
    return False
