"""Contexts, their directories and variables, and the server's answers (contract templates-and-data §10.3, §10.5)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.code_interpreter.conftest import ACCESS_TOKEN, VARIABLES
from tests.integration.code_interpreter.server import Server

TOKEN = {"X-Access-Token": ACCESS_TOKEN}


def test_the_default_contexts_are_python_and_javascript_in_the_home_directory(server: Server) -> None:
    listed = httpx.get(f"{server.url}/contexts").json()
    assert [(entry["language"], entry["cwd"]) for entry in listed[:2]] == [("python", str(server.home)), ("javascript", str(server.home))]
    assert server.execute("__import__('os').getcwd()").text == str(server.home)


def test_contexts_know_nothing_of_each_other(server: Server, context: str) -> None:
    server.execute("mine = 1", context_id=context)
    assert server.execute("'mine' in globals()").text == "False"


def test_a_context_begins_in_its_directory(server: Server, tmp_path: Path) -> None:
    answer = httpx.post(f"{server.url}/contexts?source=tests", json={"cwd": str(tmp_path), "language": " Python "}, timeout=30).json()
    assert answer == {"id": answer["id"], "language": "python", "cwd": str(tmp_path)}
    assert server.execute("import os; os.getcwd()", context_id=answer["id"]).text == str(tmp_path)
    server.remove(answer["id"])


def test_a_context_without_a_body_is_pythons_at_home(server: Server) -> None:
    answer = httpx.post(f"{server.url}/contexts", timeout=30).json()
    assert (answer["language"], answer["cwd"]) == ("python", str(server.home))
    server.remove(answer["id"])


def test_restarting_forgets_everything_but_the_context(server: Server, context: str) -> None:
    server.execute("x = 1", context_id=context)
    answer = httpx.post(f"{server.url}/contexts/{context}/restart", timeout=30)
    assert (answer.status_code, answer.text) == (200, "null")
    assert server.execute("'x' in globals()", context_id=context).text == "False"


def test_a_restart_in_the_middle_of_a_cell_ends_it_with_an_error(server: Server, context: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as pool:
        code = f"import time\nopen({str(started)!r}, 'w').close()\ntime.sleep(60)"
        cell = pool.submit(server.execute, code, context_id=context)
        while not started.exists():
            assert not cell.done()
        assert httpx.post(f"{server.url}/contexts/{context}/restart", timeout=30).status_code == 200
        error = cell.result(20).error
    assert error is not None
    assert error["name"] == "ContextRestarting"
    assert server.execute("1", context_id=context).text == "1"


def test_a_removed_context_is_gone(server: Server) -> None:
    context = server.context()
    server.remove(context)
    answer = httpx.post(f"{server.url}/execute", json={"code": "1", "context_id": context})
    assert (answer.status_code, answer.text) == (404, f"Context {context} not found")
    assert context not in httpx.get(f"{server.url}/contexts").text


@pytest.mark.parametrize(("method", "path"), [("POST", "/contexts/nobody/restart"), ("DELETE", "/contexts/nobody")])
def test_an_unknown_context_is_not_found(server: Server, method: str, path: str) -> None:
    answer = httpx.request(method, f"{server.url}{path}")
    assert (answer.status_code, answer.text) == (404, "Context nobody not found")


def test_a_context_and_a_language_at_once_are_refused(server: Server, context: str) -> None:
    answer = httpx.post(f"{server.url}/execute", json={"code": "1", "context_id": context, "language": "python"})
    assert (answer.status_code, answer.text) == (400, "Only one of context_id or language can be provided")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"code": 1}', b'{"code": "1", "env_vars": {"a": 1}}', b'{"code": "1", "env_vars": {"a=": "1"}}', b"\xff"],
)
def test_a_body_that_is_no_request_is_refused(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/execute", content=body)
    assert answer.status_code == 422
    assert answer.text


def test_an_unknown_language_or_directory_is_refused(server: Server) -> None:
    for fields in ({"language": "cobol"}, {"cwd": "/nowhere"}):
        answer = httpx.post(f"{server.url}/contexts", json=fields)
        assert answer.status_code == 500
        assert next(iter(fields.values())) in answer.text


def test_pages_of_any_origin_may_ask(server: Server) -> None:
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-access-token"}
    answer = httpx.options(f"{server.url}/execute", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in {"*", "https://example.com"}


def test_a_new_context_knows_the_sandboxs_variables(server: Server, fresh: str) -> None:
    assert (
        server.execute("import os; print(os.environ['FROM_SANDBOX'])", context_id=fresh, headers=TOKEN).stdout
        == VARIABLES["FROM_SANDBOX"] + "\n"
    )


def test_without_the_token_the_next_cell_asks_again(server: Server, fresh: str) -> None:
    code = "import os; os.environ.get('GREETING')"
    assert server.execute(code, context_id=fresh).text is None
    assert server.execute(code, context_id=fresh, headers=TOKEN).text == "hello"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import os; print(os.environ.get('{0}', ''))"),
        ("javascript", "console.log(process.env['{0}'] ?? '')"),
        ("bash", 'echo "${0}"'),
    ],
)
def test_variables_of_one_cell_end_with_it(server: Server, language: str, code: str) -> None:
    context = server.context(language=language)

    def value(name: str, **fields: Any) -> str:
        return server.execute(code.format(name), context_id=context, headers=TOKEN, **fields).stdout.strip()

    assert value("GREETING") == "hello"
    assert value("GREETING", env_vars={"GREETING": "it's $HOME"}) == "it's $HOME"
    assert value("GREETING") == "hello"
    assert value("ONCE", env_vars={"ONCE": "now"}) == "now"
    assert value("ONCE") == ""
    assert value("INHERITED", env_vars={"INHERITED": "changed"}) == "changed"
    assert value("INHERITED") == "from the server"
    assert value("PATH") != ""
    server.remove(context)


def test_a_cells_variables_do_not_move_its_lines(server: Server) -> None:
    error = server.execute("  1/0", env_vars={"A": "b"}).error
    assert error is not None
    assert "line 1" in error["traceback"]


def test_cells_of_one_context_run_one_after_the_other(server: Server, context: str) -> None:
    server.execute("n = 0", context_id=context)
    with ThreadPoolExecutor(20) as pool:
        code = "m = n\nimport time; time.sleep(0.01)\nn = m + 1\nn"
        texts = [cell.text for cell in pool.map(lambda _: server.execute(code, context_id=context), range(20))]
    assert sorted(int(text or 0) for text in texts) == list(range(1, 21))


def test_contexts_run_at_the_same_time(server: Server, tmp_path: Path) -> None:
    """Each of two cells waits for the other."""
    contexts = [server.context(), server.context()]
    here, there = tmp_path / "here", tmp_path / "there"
    code = "import os, time\nopen({0!r}, 'w').close()\nwhile not os.path.exists({1!r}): time.sleep(0.01)"
    with ThreadPoolExecutor(2) as pool:
        cells = [
            pool.submit(server.execute, code.format(str(mine), str(other)), context_id=context)
            for context, mine, other in zip(contexts, (here, there), (there, here), strict=True)
        ]
        assert [cell.result(20).error for cell in cells] == [None, None]
    for context in contexts:
        server.remove(context)


def test_a_language_has_one_context_even_if_many_ask_at_once(server: Server) -> None:
    with ThreadPoolExecutor(5) as pool:
        pids = {server_pid.text for server_pid in pool.map(lambda _: server.execute("process.pid", language="TS"), range(5))}
    assert len(pids) == 1
    assert int(pids.pop() or 0) != os.getpid()
