"""Pausing by the official Python client (contract rest-api §8.6–§8.8, §11)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from e2b import AsyncSandbox, PtySize, Sandbox, SandboxNotFoundException, SandboxState
from e2b.exceptions import SandboxException

from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance

_COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"


def _wait_for_pause(sandbox: Sandbox) -> None:
    end = time.monotonic() + 30
    while sandbox.get_info().state is not SandboxState.PAUSED:
        assert time.monotonic() < end, "it was not paused at its end"
        time.sleep(0.1)


def test_files_memory_and_handles_go_on(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox(envs={"KEPT": "variable"})
    counter = sandbox.commands.run(_COUNT, background=True)
    sandbox.files.write("/home/user/kept", "file")
    for _ in range(3):
        assert sandbox.pause() is True
        assert sandbox.get_info().state is SandboxState.PAUSED
        back = Sandbox.connect(sandbox.sandbox_id)
        assert back.sandbox_id == sandbox.sandbox_id
        assert sandbox.is_running()
    assert sandbox.files.read("/home/user/kept") == "file"
    assert sandbox.commands.run("echo $KEPT $E2B_SANDBOX_ID").stdout == f"variable {sandbox.sandbox_id}\n"
    numbers: list[int] = []
    for stdout, _stderr, _pty in sandbox.commands.connect(counter.pid):
        numbers += map(int, (stdout or "").split())
        if len(numbers) > 5:
            break
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every number once, and in order"
    assert numbers[0] > 1
    assert counter.pid in {process.pid for process in sandbox.commands.list()}


def test_a_terminal_goes_on(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.send_stdin(terminal.pid, b"kept=in-the-shell\n")
    time.sleep(0.5)
    sandbox.pause()
    Sandbox.connect(sandbox.sandbox_id)
    again = sandbox.pty.connect(terminal.pid)
    sandbox.pty.send_stdin(terminal.pid, b"echo still $kept; exit\n")
    seen = b""
    for _stdout, _stderr, pty in again:
        seen += pty or b""
    assert b"still in-the-shell" in seen


def test_pausing_twice_says_so_and_a_killed_one_is_gone(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    assert sandbox.pause() is True
    assert sandbox.pause() is False
    assert sandbox.kill() is True
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)
    with pytest.raises(SandboxException):
        sandbox.pause()


def test_twenty_clients_at_once_end_in_one_state(make_sandbox: SandboxMaker) -> None:
    """Issue: pausing and resuming from twenty clients at once ends in one consistent state."""
    sandbox = make_sandbox()
    sandbox.commands.run(f"({_COUNT}) > /tmp/count 2>&1 &")

    def pause_or_connect(number: int) -> str:
        try:
            if number % 2:
                sandbox.pause()
            else:
                Sandbox.connect(sandbox.sandbox_id)
        except SandboxException as error:
            return str(error)
        return ""

    for _ in range(2):
        with ThreadPoolExecutor(20) as pool:
            problems = [problem for problem in pool.map(pause_or_connect, range(20)) if problem]
        assert all(problem.startswith("409") for problem in problems), problems
    Sandbox.connect(sandbox.sandbox_id)
    assert sandbox.get_info().state is SandboxState.RUNNING
    mine = [listed for listed in _listed() if listed == sandbox.sandbox_id]
    assert len(mine) == 1
    lines = [int(line) for line in sandbox.files.read("/tmp/count").split()]
    assert lines == list(range(1, len(lines) + 1))


def _listed() -> list[str]:
    pages, found = Sandbox.list(), []
    while pages.has_next:
        found += [listed.sandbox_id for listed in pages.next_items()]
    return found


def test_it_is_paused_at_its_end_and_wakes_for_traffic_and_for_clients(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox(timeout=2, lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.commands.run("echo page > index.html; python3 -m http.server 8000 > /dev/null 2>&1 &")
    _wait_for_pause(sandbox)
    routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8000"}

    def visit(_: int) -> int:
        return httpx.get(f"{server.sandbox_url}/index.html", headers=routing, timeout=60).status_code

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(visit, range(10))) == {200}
    assert sandbox.get_info().state is SandboxState.RUNNING
    sandbox.pause()
    assert sandbox.commands.run("cat /home/user/index.html").stdout == "page\n"


def test_one_that_traffic_does_not_wake_is_not_found(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox(timeout=2, lifecycle={"on_timeout": "pause"})
    _wait_for_pause(sandbox)
    routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8000"}
    assert httpx.get(server.sandbox_url, headers=routing, timeout=60).status_code == 502
    assert sandbox.get_info().state is SandboxState.PAUSED
    Sandbox.connect(sandbox.sandbox_id, timeout=60)
    assert sandbox.commands.run("echo back").stdout == "back\n"


async def test_the_asynchronous_client_pauses_and_connects(server: Instance) -> None:
    sandbox = await AsyncSandbox.create(timeout=120)
    try:
        await sandbox.files.write("/home/user/kept", "file")
        assert await sandbox.pause() is True
        again = await AsyncSandbox.connect(sandbox.sandbox_id)
        assert await again.files.read("/home/user/kept") == "file"
    finally:
        await sandbox.kill()
