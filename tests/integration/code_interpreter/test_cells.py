"""State, output, errors and their order (contract templates-and-data §10.4)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import httpx

from tests.integration.code_interpreter.server import Server


def test_cells_share_what_they_define_and_are_counted(server: Server, fresh: str) -> None:
    first = server.execute("x = 20", context_id=fresh)
    second = server.execute("x += 1\nx * 2", context_id=fresh)
    assert first.events == [{"type": "number_of_executions", "execution_count": 1}]
    assert second.events == [
        {"type": "number_of_executions", "execution_count": 2},
        {"type": "result", "text": "42", "is_main_result": True, "extra": {}},
    ]


def test_warming_up_leaves_no_name_behind(server: Server) -> None:
    assert server.execute("sorted(n for n in globals() if 'warm' in n or n in ('np', 'pd', 'plt', 'numpy'))").text == "[]"
    assert server.execute("'numpy' in __import__('sys').modules").text == "True"


def test_a_string_loses_one_pair_of_quotes(server: Server) -> None:
    assert server.execute("'it is'").text == "it is"
    assert server.execute('"it\'s"').text == "it's"


def test_what_is_printed_keeps_its_order_among_results(server: Server) -> None:
    code = "import sys\nprint('a')\nprint('b', file=sys.stderr)\ndisplay('c')\nprint('d')\n'e'"
    events = [event for event in server.execute(code).events if event["type"] != "number_of_executions"]
    assert [(event["type"], event["text"]) for event in events] == [
        ("stdout", "a\n"),
        ("stderr", "b\n"),
        ("result", "c"),
        ("stdout", "d\n"),
        ("result", "e"),
    ]
    assert [event["is_main_result"] for event in events if event["type"] == "result"] == [False, True]


def test_timestamps_are_iso_times(server: Server) -> None:
    [event] = server.execute("print(1)").of_type("stdout")
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None


def test_output_arrives_while_the_cell_runs(server: Server, tmp_path: Path) -> None:
    """The cell ends only after the client has seen its first line."""
    gate = tmp_path / "gate"
    code = f"import os, time\nprint('waiting', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('through')"
    with httpx.stream("POST", f"{server.url}/execute", json={"code": code}, timeout=20) as response:
        text = ""
        for line in response.iter_lines():
            text += line
            if "waiting" in line:
                gate.touch()
    assert "through" in text


def test_an_error_has_a_plain_traceback_and_comes_once(server: Server) -> None:
    execution = server.execute("def f():\n    raise KeyError('lost')\nf()")
    assert execution.error is not None
    assert (execution.error["name"], execution.error["value"]) == ("KeyError", "'lost'")
    assert "line 3" in execution.error["traceback"]
    assert "\x1b" not in execution.error["traceback"]
    assert execution.results == []


def test_a_syntax_error_and_an_exit_are_errors_like_others(server: Server) -> None:
    syntax, ended = server.execute("1 +"), server.execute("raise SystemExit(3)")
    assert syntax.error is not None
    assert syntax.error["name"] == "SyntaxError"
    assert ended.error is not None
    assert ended.error["name"] == "SystemExit"


def test_await_works_at_top_level_and_input_is_refused(server: Server) -> None:
    assert server.execute("import asyncio\nawait asyncio.sleep(0, 'slept')").text == "slept"
    asked = server.execute("input()").error
    assert asked is not None
    assert asked["name"] == "StdinNotImplementedError"


def test_magics_and_shell_commands_work(server: Server) -> None:
    assert server.execute("!echo from a shell").stdout.strip() == "from a shell"
    assert server.execute("%%bash\necho of bash").stdout.strip() == "of bash"


def test_a_hundred_thousand_lines_arrive_complete(server: Server) -> None:
    printed = server.execute("for i in range(100_000): print(i)").stdout
    assert printed == "".join(f"{i}\n" for i in range(100_000))


def test_a_result_of_twenty_megabytes_arrives_complete(server: Server) -> None:
    text = server.execute("print('x' * 20_000_000)").stdout
    assert len(text) == 20_000_001


def test_code_in_any_script_and_without_anything(server: Server) -> None:
    assert server.execute("'żółw 🐢'").text == "żółw 🐢"
    assert server.execute("").error is None
