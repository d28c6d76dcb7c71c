"""Representations in addition to IPython's own. Types are named, never imported: a kernel that plots nothing loads nothing."""

from __future__ import annotations

from typing import Any

from IPython.core.formatters import BaseFormatter
from traitlets import ObjectName, Unicode

from . import images
from .charts import chart_of
from .plain import TooLargeError, plain
from .table import columns_of


class DataFormatter(BaseFormatter):  # type: ignore[misc]
    """A table as lists by column."""

    format_type = Unicode("e2b/data")
    print_method = ObjectName("_repr_e2b_data_")
    _return_type = dict


class ChartFormatter(BaseFormatter):  # type: ignore[misc]
    """What a figure shows."""

    format_type = Unicode("e2b/chart")
    print_method = ObjectName("_repr_e2b_chart_")
    _return_type = dict

    def pop(self, typ: Any, default: Any = None) -> Any:
        """Nothing: as matplotlib's inline backend sets its own formatters for figures, it removes them from all others."""
        return default


def _json(value: Any) -> Any:
    try:
        return plain(value)
    except (TooLargeError, TypeError, ValueError, RecursionError):
        return None  # it has its text


def register(shell: Any) -> None:
    """Adds the formatters to a shell."""
    formatters = shell.display_formatter.formatters
    data, chart, json = DataFormatter(parent=shell), ChartFormatter(parent=shell), formatters["application/json"]
    data.for_type_by_name("pandas.core.frame", "DataFrame", columns_of)
    data.for_type_by_name("pandas", "DataFrame", columns_of)  # where its module says it lives since pandas 3
    chart.for_type_by_name("matplotlib.figure", "Figure", chart_of)
    json.for_type(dict, _json)
    json.for_type(list, _json)
    formatters["e2b/data"] = data
    formatters["e2b/chart"] = chart
    images.register()
