"""`e2b sandbox create`, `spawn`, `connect` and `exec` of the real command line (sdk-latest contract §5)."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from collections.abc import Iterator

import pytest
from e2b import Sandbox, SandboxNotFoundException

from tests.conformance.command_line.conftest import Run, attempt
from tests.product.instance import wait_until

ID = re.compile(r"\bi[a-z0-9]{20}\b")


@pytest.fixture(scope="module")
def sandbox(e2b: Run) -> Iterator[Sandbox]:
    """One for commands; the installation runs, since the command does."""
    with Sandbox.create(timeout=300) as sandbox:
        yield sandbox


def typed(environment: dict[str, str], arguments: list[str], text: str) -> str:
    """What a terminal shows of a command that is typed into as soon as it asks; it must end with 0."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("e2b", ["e2b", *arguments], environment)
    seen, sent, end = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # its other end is closed
                    break
                if not data:
                    break
                seen += data
            if not sent and re.search(rb"[$#] ", seen):
                os.write(terminal, text.encode())
                sent = True
    finally:
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0, seen
    return seen.decode(errors="replace")


def is_gone(sandbox_id: str) -> bool:
    try:
        Sandbox.get_info(sandbox_id)
    except SandboxNotFoundException:
        return True
    return False


@pytest.mark.parametrize("command", ["create", "spawn"])
def test_detached_only_the_id_is_printed_and_the_timeout_is_kept(e2b: Run, command: str) -> None:
    sandbox_id = e2b("sandbox", command, "base", "--detach", "--timeout", "90", "--lifecycle.ontimeout", "kill").strip()
    assert ID.fullmatch(sandbox_id)
    info = Sandbox.get_info(sandbox_id)
    assert (info.end_at - info.started_at).total_seconds() == 90
    assert Sandbox.kill(sandbox_id)


def test_a_template_that_is_not_there_is_named(e2b_environment: dict[str, str]) -> None:
    status, printed, complaint = attempt(e2b_environment, "sandbox", "create", "no-such-template", "--detach")
    assert (status, printed) == (1, "")
    assert "404" in complaint
    assert "no-such-template" in complaint


def test_a_terminal_has_its_user_directory_and_variables_and_its_sandbox_ends_with_it(e2b_environment: dict[str, str]) -> None:
    arguments = ["sandbox", "create", "--user", "root", "--cwd", "/tmp", "--env", "WHO=me"]
    seen = typed(e2b_environment, arguments, "echo $(whoami):$(pwd):$WHO:$((6*7)); exit\n")
    assert "root:/tmp:me:42" in seen
    found = ID.search(seen)
    assert found is not None
    wait_until(lambda: is_gone(found[0]), "the sandbox has ended", seconds=20)


def test_connect_opens_a_terminal_and_leaves_the_sandbox_running(e2b_environment: dict[str, str], sandbox: Sandbox) -> None:
    seen = typed(e2b_environment, ["sandbox", "connect", "-u", "user", sandbox.sandbox_id], "echo $(whoami):$((6*7)); exit\n")
    assert "user:42" in seen
    assert sandbox.is_running()


def test_exec_passes_streams_and_the_exit_code_on(e2b_environment: dict[str, str], sandbox: Sandbox) -> None:
    options = ["-u", "root", "-c", "/var", "-e", "A=1", "-e", "B=two words"]
    command = "echo $(whoami):$(pwd):$A:$B; echo wrong >&2; exit 7"
    status, printed, complaint = attempt(e2b_environment, "sandbox", "exec", *options, sandbox.sandbox_id, command)
    assert (status, printed) == (7, "root:/var:1:two words\n")
    assert complaint == "wrong\nexit status 7\n"  # the second line is what the agent says of the end (data-plane contract §2.7)


def test_exec_reads_input_of_many_pieces_to_its_end(e2b: Run, sandbox: Sandbox) -> None:
    assert e2b("sandbox", "exec", sandbox.sandbox_id, "wc", "-c", stdin="x" * 200_000).strip() == "200000"


def test_exec_in_the_background_prints_the_pid_and_leaves(e2b_environment: dict[str, str], sandbox: Sandbox) -> None:
    status, printed, complaint = attempt(e2b_environment, "sandbox", "exec", "--background", sandbox.sandbox_id, "sleep 300")
    assert (status, printed) == (0, "")
    assert int(complaint) in {process.pid for process in sandbox.commands.list()}


def test_exec_and_connect_in_a_sandbox_that_is_not_there_fail_clearly(e2b_environment: dict[str, str]) -> None:
    for command in (["exec", "iabcdefghijklmnopqrst", "true"], ["connect", "iabcdefghijklmnopqrst"]):
        status, _, complaint = attempt(e2b_environment, "sandbox", *command)
        assert status == 1
        assert "not found" in complaint
