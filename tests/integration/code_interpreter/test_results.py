"""Rich results of Python cells, and charts as data (contract templates-and-data §10.4, §10.6, §10.7)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.integration.code_interpreter.server import Event, Server


def only_result(server: Server, code: str) -> Event:
    """The one result of a cell without error."""
    execution = server.execute(code)
    assert execution.error is None, execution.error
    [result] = execution.results
    return result


def chart(server: Server, code: str) -> dict[str, Any]:
    """The chart of a cell that plots."""
    result = only_result(server, f"import matplotlib.pyplot as plt\n{code}\nplt.show()")
    assert base64.b64decode(result["png"]).startswith(b"\x89PNG")
    assert result["is_main_result"] is False
    found: dict[str, Any] = result["chart"]
    return found


def test_a_table_is_html_and_data(server: Server) -> None:
    code = (
        "import pandas as pd\npd.DataFrame({'n': [1, None], 'when': pd.to_datetime(['2024-01-02', None]), "
        "'what': ['a', (1, {2})], 3: [True, False]})"
    )
    result = only_result(server, code)
    assert "<table" in result["html"]
    assert result["is_main_result"] is True
    assert result["data"] == {"n": [1.0, None], "when": ["2024-01-02T00:00:00", None], "what": ["a", [1, [2]]], "3": [True, False]}


def test_lists_and_objects_are_json(server: Server) -> None:
    code = (
        "import numpy, datetime\n{'a': [1, 2.5, None, float('nan')], "
        "'b': numpy.arange(3), 4: datetime.date(2024, 1, 2), 'c': numpy.int64(7)}"
    )
    assert only_result(server, code)["json"] == {"a": [1, 2.5, None, None], "b": [0, 1, 2], "4": "2024-01-02", "c": 7}
    assert "json" not in only_result(server, "[object()]")
    assert "json" not in only_result(server, "x = []; x.append(x); x")


@pytest.mark.parametrize(
    ("code", "field", "expected"),
    [
        ("HTML('<b>x</b>')", "html", "<b>x</b>"),
        ("Markdown('# x')", "markdown", "# x"),
        ("SVG('<svg><g/></svg>')", "svg", "<svg><g/></svg>"),
        ("Latex('$x$')", "latex", "$x$"),
        ("JSON({'a': 1})", "json", {"a": 1}),
        ("Javascript('alert(1)')", "javascript", "alert(1)"),
    ],
)
def test_each_kind_of_display_has_its_field(server: Server, code: str, field: str, expected: object) -> None:
    result = only_result(server, f"from IPython.display import *\n{code}")
    assert result[field] == expected


def test_other_kinds_are_extra(server: Server) -> None:
    code = "display({'application/x-mine': 'm', 'image/jpeg': 'aGk=', 'application/pdf': 'aGk='}, raw=True)"
    result = only_result(server, code)
    assert (result["extra"], result["jpeg"], result["pdf"]) == ({"application/x-mine": "m"}, "aGk=", "aGk=")


def test_sympy_like_objects_show_latex(server: Server) -> None:
    assert only_result(server, "class Half:\n    def _repr_latex_(self): return r'$\\frac{1}{2}$'\nHalf()")["latex"] == "$\\frac{1}{2}$"


def test_plotly_shows_its_figure(server: Server) -> None:
    result = only_result(
        server, "import plotly.graph_objects as go\nfigure = go.Figure(go.Bar(y=[1, 2]))\nfigure.show(renderer='plotly_mimetype')"
    )
    assert result["extra"]["application/vnd.plotly.v1+json"]["data"][0]["type"] == "bar"


def test_an_image_is_shown_when_it_is_returned_or_saved_but_opens_nothing(server: Server) -> None:
    code = "from PIL import Image\npicture = Image.new('RGB', (2, 2), 'red')\n"
    assert base64.b64decode(only_result(server, code + "picture")["png"]).startswith(b"\x89PNG")
    assert only_result(server, code + "picture.save('saved.png')")["is_main_result"] is False
    assert (server.home / "saved.png").read_bytes().startswith(b"\x89PNG")
    assert server.execute(code + "import io\npicture.save(io.BytesIO(), 'PNG')\npicture.show()").results == []


def test_a_figure_is_shown_once_whoever_asks(server: Server) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
    assert len(server.execute(code + "plt.show()").results) == 1
    assert len([result for result in server.execute(code).results if "png" in result]) == 1
    assert server.execute("plt.close('all')").results == []


def test_a_line_chart(server: Server) -> None:
    found = chart(
        server,
        "plt.plot([1, 2], [3, 4], label='up')\nplt.plot([1, 2], [4, 3])\n"
        "plt.title('T')\nplt.xlabel('time (s)')\nplt.ylabel('speed [m/s]')\nplt.grid()",
    )
    assert (found["type"], found["title"]) == ("line", "T")
    assert [found[name] for name in ("x_label", "x_unit", "y_label", "y_unit", "x_scale")] == [
        "time (s)",
        "s",
        "speed [m/s]",
        "m/s",
        "linear",
    ]
    assert found["elements"] == [{"label": "up", "points": [[1, 3], [2, 4]]}, {"label": "Line 1", "points": [[1, 4], [2, 3]]}]
    assert len(found["x_ticks"]) == len(found["x_tick_labels"]) > 1


def test_a_line_chart_over_time(server: Server) -> None:
    found = chart(server, "import datetime\nplt.plot([datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2)], [1, 2])")
    assert (found["x_scale"], found["x_unit"], found["x_label"]) == ("datetime", None, None)
    assert found["elements"][0]["points"] == [["2024-01-01T00:00:00", 1], ["2024-01-02T00:00:00", 2]]
    assert found["x_ticks"][0].startswith("2024-01-01T")


def test_a_table_plotted_over_its_dates(server: Server) -> None:
    found = chart(
        server, "import pandas as pd\npd.DataFrame({'a': [1, 2]}, index=pd.date_range('2024-01-01', periods=2)).plot(ax=plt.gca())"
    )
    assert found["elements"] == [{"label": "a", "points": [["2024-01-01T00:00:00", 1], ["2024-01-02T00:00:00", 2]]}]


def test_a_scatter_chart(server: Server) -> None:
    found = chart(server, "plt.scatter([1, 10], [2, 4], label='dots')\nplt.xscale('log')\nplt.scatter([3], [3])")
    assert (found["type"], found["x_scale"], found["y_scale"]) == ("scatter", "log", "linear")
    assert found["elements"] == [{"label": "dots", "points": [[1, 2], [10, 4]]}, {"label": "Scatter 1", "points": [[3, 3]]}]


def test_a_bar_chart(server: Server) -> None:
    assert chart(server, "plt.bar(['a', 'b'], [3, 4], label='sold')")["elements"] == [
        {"label": "a", "group": "sold", "value": 3},
        {"label": "b", "group": "sold", "value": 4},
    ]
    assert chart(server, "plt.barh(['a'], [3], label='sold')")["elements"] == [{"label": "a", "group": "sold", "value": 3}]


def test_a_bar_chart_of_groups_with_error_bars(server: Server) -> None:
    code = (
        "plt.bar([-.2, .8], [1, 2], .4, label='x', yerr=[.1, .1])\n"
        "plt.bar([.2, 1.2], [3, 4], .4, label='y')\nplt.xticks([0, 1], ['P', 'Q'])"
    )
    found = [(bar["label"], bar["group"], bar["value"]) for bar in chart(server, code)["elements"]]
    assert found == [("P", "x", 1), ("Q", "x", 2), ("P", "y", 3), ("Q", "y", 4)]


def test_a_pie_chart(server: Server) -> None:
    found = chart(server, "plt.pie([1, 3], labels=['u', 'v'], autopct='%d')")
    assert found["type"] == "pie"
    assert found["elements"] == [{"label": "u", "angle": 90, "radius": 1}, {"label": "v", "angle": 270, "radius": 1}]


@pytest.mark.parametrize("options", ["", "patch_artist=True", "orientation='horizontal'", "showmeans=True", "showcaps=False"])
def test_a_box_plot(server: Server, options: str) -> None:
    found = chart(server, f"plt.boxplot([[1, 2, 3, 4, 20], [2, 3, 4, 5, 6]], tick_labels=['A', 'B'], {options})")
    assert found["type"] == "box_and_whisker"
    assert found["elements"] == [
        {"label": "A", "min": 1, "first_quartile": 2, "median": 3, "third_quartile": 4, "max": 4, "outliers": [20]},
        {"label": "B", "min": 2, "first_quartile": 3, "median": 4, "third_quartile": 5, "max": 6, "outliers": []},
    ]


def test_several_axes_are_a_superchart(server: Server) -> None:
    found = chart(server, "figure, axes = plt.subplots(1, 3)\naxes[0].plot([1, 2])\naxes[1].scatter([1], [2])\nfigure.suptitle('S')")
    assert (found["type"], found["title"]) == ("superchart", "S")
    assert [element["type"] for element in found["elements"]] == ["line", "scatter"]


def test_a_picture_is_an_unknown_chart_and_nothing_is_none(server: Server) -> None:
    assert chart(server, "plt.imshow([[1, 2], [3, 4]])\nplt.colorbar()") == {"type": "unknown", "title": "", "elements": []}
    assert "chart" not in only_result(server, "from matplotlib.figure import Figure\nFigure()")
    server.execute("plt.close('all')")
