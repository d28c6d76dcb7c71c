"""Clients that leave, cells that never end, kernels that are killed: the next cell runs all the same."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.code_interpreter.environment import Environment
from tests.integration.code_interpreter.server import Server, running
from tests.product.instance import wait_until


def _cells_of(language: str, context: str) -> dict[str, Any]:
    """Where to run cells: kernels of Python are slow to start, and the default one is other tests'."""
    return {"context_id": context} if language == "python" else {"language": language}


@pytest.mark.parametrize(
    ("language", "endless", "after", "expected"),
    [
        ("python", "import time\nwhile True: time.sleep(0.1)", "x", "41"),
        ("python", "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt:\n        break", "x", "41"),
        ("javascript", "while (true) {}", "x", "41"),
        ("javascript", "await new Promise(() => {})", "x", "41"),
    ],
)
def test_a_cell_whose_client_has_gone_is_interrupted_and_its_context_lives(
    server: Server, context: str, language: str, endless: str, after: str, expected: str
) -> None:
    cells = _cells_of(language, context)
    server.execute("x = 41" if language == "python" else "var x = 41", **cells)
    server.give_up(endless, seconds=0.5, **cells, env_vars={"ONCE": "1"})
    assert server.execute(after, **cells).text == expected
    gone = "__import__('os').environ.get('ONCE', 'gone')" if language == "python" else "process.env.ONCE ?? 'gone'"
    assert server.execute(gone, **cells).text == "gone"


@pytest.mark.parametrize("endless", ["sleep 60; x=42", "while true; do sleep 0.1; done", "while true; do :; done"])
def test_bash_is_interrupted(server: Server, endless: str) -> None:
    server.execute("x=41", language="bash")
    server.give_up(endless, seconds=0.5, language="bash")
    assert server.execute("echo $x", language="bash").stdout == "41\n"


@pytest.mark.parametrize("language", ["python", "javascript", "bash"])
def test_a_cell_that_floods_is_interrupted_when_its_client_leaves(server: Server, context: str, language: str) -> None:
    cells = _cells_of(language, context)
    floods = {"python": "while True: print('x' * 1000)", "javascript": "while (true) console.log('x'.repeat(1000))", "bash": "yes"}
    body = {"code": floods[language], **cells}
    with httpx.stream("POST", f"{server.url}/execute", json=body, timeout=20) as response:
        lines = response.iter_lines()
        while '"stdout"' not in next(lines):
            pass
    assert (
        "still here"
        in server.execute(
            {"javascript": "console.log('still here')"}.get(language, "echo still here" if language == "bash" else "print('still here')"),
            **cells,
        ).stdout
    )


def test_a_client_that_leaves_the_queue_stops_nobody(server: Server, context: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.execute, "import time; time.sleep(1.5); 'done'", context_id=context)
        server.give_up("1", seconds=0.5, context_id=context)
        assert first.result(20).text == "done"


@pytest.mark.parametrize(
    ("language", "deadly"),
    [("python", "import os; os.kill(os.getpid(), 9)"), ("javascript", "process.exit(1)")],
)
def test_a_cell_that_kills_its_kernel_gets_an_error_and_the_next_one_a_new_kernel(
    server: Server, context: str, language: str, deadly: str
) -> None:
    cells = _cells_of(language, context)
    error = server.execute(deadly, **cells).error
    assert error is not None
    assert (error["name"], error["value"]) == ("ContextRestarting", "Context was restarted")
    following = server.execute("1 + 1", **cells)
    assert (following.text, following.stderr) == ("2", "")


def test_a_kernel_that_ended_between_cells_is_replaced_and_the_next_cell_is_told(server: Server, context: str) -> None:
    pid = int(server.execute("import os; os.getpid()", context_id=context).text or 0)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _runs(pid), "the kernel has ended")
    following = server.execute("1 + 1", context_id=context)
    assert following.text == "2"
    assert "gone" in following.stderr


def test_no_process_of_a_removed_context_stays(server: Server) -> None:
    context = server.context()
    code = "import os, subprocess; child = subprocess.Popen(['sleep', '1000']); (os.getpid(), child.pid)"
    pids = [int(pid) for pid in (server.execute(code, context_id=context).text or "").strip("()").split(",")]
    server.remove(context)
    wait_until(lambda: not any(_runs(pid) for pid in pids), "both have ended")


@pytest.mark.parametrize(
    ("language", "code"), [("javascript", "console.log(process.pid); while (true) {}"), ("bash", "echo $$; while true; do :; done")]
)
def test_kernels_end_with_a_server_that_is_killed(
    environment: Environment, agent_url: str, tmp_path: Path, language: str, code: str
) -> None:
    with (
        running(environment, tmp_path, agent_url) as server,
        httpx.stream("POST", f"{server.url}/execute", json={"code": code, "language": language}, timeout=20) as response,
    ):
        pid = next(int(event["text"]) for event in map(json.loads, response.iter_lines()) if event["type"] == "stdout")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not _runs(pid), "the kernel has ended")


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
