"""`sandbox.pty`, synchronous."""

from __future__ import annotations

import pytest
from e2b import CommandExitException, NotFoundException, PtySize, Sandbox

MISSING_PID = 999_999


def test_terminal_runs_a_shell_with_environment_and_size(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80), envs={"ABC": "123"}, cwd="/tmp")
    sandbox.pty.send_stdin(terminal.pid, b"echo value-$ABC term-$TERM cols-$(tput cols) at-$PWD user-$(whoami)\nexit\n")
    seen: list[bytes] = []
    result = terminal.wait(on_pty=seen.append)
    assert b"value-123 term-xterm-256color cols-80 at-/tmp user-user" in b"".join(seen)
    assert result.exit_code == 0


def test_terminal_of_root(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80), user="root")
    sandbox.pty.send_stdin(terminal.pid, b"echo i-am-$(whoami)\nexit\n")
    seen: list[bytes] = []
    terminal.wait(on_pty=seen.append)
    assert b"i-am-root" in b"".join(seen)


def test_resize_reaches_the_programs(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.resize(terminal.pid, PtySize(rows=50, cols=100))
    sandbox.pty.send_stdin(terminal.pid, b"echo size-$(tput cols)x$(tput lines)-end\nexit\n")
    seen: list[bytes] = []
    terminal.wait(on_pty=seen.append)
    assert b"size-100x50-end" in b"".join(seen)


def test_it_is_a_controlling_terminal(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    # Said by the program that is to be interrupted: while the shell still forks it, Ctrl-C is the shell's.
    sandbox.pty.send_stdin(terminal.pid, b"""tty; sh -c 'echo rea""dy; exec sleep 100'\n""")
    output, interrupted = b"", False
    for _, _, chunk in terminal:
        output += chunk or b""
        if b"ready" in output and not interrupted:
            interrupted = True
            sandbox.pty.send_stdin(terminal.pid, b"\x03")
            sandbox.pty.send_stdin(terminal.pid, b"echo code-$?\nexit\n")
    assert b"/dev/pts/" in output
    assert b"code-130" in output, "Ctrl-C did not interrupt the foreground program"


def test_disconnect_and_connect_again(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    terminal.disconnect()
    again = sandbox.pty.connect(terminal.pid)
    assert again.pid == terminal.pid
    sandbox.pty.send_stdin(terminal.pid, b"echo later-$((40+2))\nexit\n")
    seen: list[bytes] = []
    assert again.wait(on_pty=seen.append).exit_code == 0
    assert b"later-42" in b"".join(seen)


def test_exit_code_of_the_shell(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.send_stdin(terminal.pid, b"exit 5\n")
    with pytest.raises(CommandExitException) as caught:
        terminal.wait()
    assert caught.value.exit_code == 5


def test_kill(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    assert sandbox.pty.kill(terminal.pid) is True
    with pytest.raises(CommandExitException):
        sandbox.commands.run(f"kill -0 {terminal.pid}")
    assert sandbox.pty.kill(MISSING_PID) is False


def test_input_can_be_streamed(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.stream_input(terminal.pid, [b"echo streamed-", b"$((6*7))\n", "exit\n"])
    seen: list[bytes] = []
    terminal.wait(on_pty=seen.append)
    assert b"streamed-42" in b"".join(seen)


def test_what_does_not_exist_cannot_be_used(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException):
        sandbox.pty.send_stdin(MISSING_PID, b"x")
    with pytest.raises(NotFoundException):
        sandbox.pty.resize(MISSING_PID, PtySize(rows=1, cols=1))
    with pytest.raises(NotFoundException):
        sandbox.pty.connect(MISSING_PID)
