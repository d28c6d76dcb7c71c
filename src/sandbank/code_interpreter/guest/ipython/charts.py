"""What a matplotlib figure shows, as data (contract templates-and-data §10.7): read from its artists."""

from __future__ import annotations

from typing import Any

from .axes import chart_of_axes, is_blank
from .plain import plain


def chart_of(figure: Any) -> dict[str, Any] | None:
    """One chart, or a superchart of several axes; None for a figure without content."""
    shown = [axes for axes in figure.get_axes() if axes.get_visible() and not _is_colorbar(axes) and not is_blank(axes)]
    charts = [chart_of_axes(axes) for axes in shown]
    if not charts:
        return None
    if len(charts) == 1:
        found: dict[str, Any] = plain(charts[0])
        return found
    superchart: dict[str, Any] = plain({"type": "superchart", "title": figure.get_suptitle(), "elements": charts})
    return superchart


def _is_colorbar(axes: Any) -> bool:
    return bool(axes.get_label() == "<colorbar>")
