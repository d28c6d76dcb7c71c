"""`sandbox.commands`, synchronous."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from e2b import (
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    RateLimitException,
    Sandbox,
    SandboxException,
    TimeoutException,
)

MISSING_PID = 999_999


@pytest.mark.parametrize("text", ["Hello, World!", "!@#$%^&*()_+", "Hello,\nWorld!", "Grüße, 世界 🦕"])
def test_output_is_the_text_and_a_newline(sandbox: Sandbox, text: str) -> None:
    result = sandbox.commands.run(f"echo '{text}'")
    assert (result.stdout, result.stderr, result.exit_code, result.error) == (f"{text}\n", "", 0, None)


def test_bytes_split_across_reads_are_decoded_by_the_client(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("printf '%8191s' '' | tr ' ' a; printf '\\xe2'")
    assert result.stdout == "a" * 8191 + "�"


def test_multibyte_characters_survive_the_boundary_of_a_read(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("python3 -c \"print('a' * 32767 + '世界' * 20000, end='')\"")
    assert result.stdout == "a" * 32767 + "世界" * 20000


def test_output_can_be_opened_by_name(sandbox: Sandbox) -> None:
    """Scripts write to /dev/stderr; the pipe behind it must be the user's."""
    result = sandbox.commands.run("echo out > /dev/stdout; echo err | tee /dev/stderr > /dev/null")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_large_output_arrives_whole_and_in_order(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("seq 1 200000")
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 200_001))


def test_exit_code_and_both_streams_are_reported(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("echo out; echo err >&2; exit 3")
    error = caught.value
    assert (error.exit_code, error.stdout, error.stderr, error.error) == (3, "out\n", "err\n", "exit status 3")


def test_command_that_does_not_exist_exits_with_127(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("no-such-command-here")
    assert caught.value.exit_code == 127
    assert "not found" in caught.value.stderr


def test_command_killed_by_a_signal_says_so(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exec sleep 60", background=True)
    assert handle.kill() is True
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.error) == (-1, "signal: killed")


def test_callbacks_get_output_while_the_command_runs(sandbox: Sandbox) -> None:
    seen: list[tuple[str, str, float]] = []
    started = time.monotonic()
    result = sandbox.commands.run(
        "echo first; echo problem >&2; sleep 1; echo second",
        on_stdout=lambda text: seen.append(("out", text, time.monotonic() - started)),
        on_stderr=lambda text: seen.append(("err", text, time.monotonic() - started)),
    )
    ended = time.monotonic() - started
    assert "".join(text for stream, text, _ in seen if stream == "out") == "first\nsecond\n" == result.stdout
    assert [text for stream, text, _ in seen if stream == "err"] == ["problem\n"]
    first = min(at for stream, _, at in seen if stream == "out")
    assert ended - first >= 0.9, "the first line came only when the command had ended"


def test_output_need_not_be_retained(sandbox: Sandbox) -> None:
    seen: list[str] = []
    result = sandbox.commands.run("echo streamed", on_stdout=seen.append, retain_output=False)
    assert (result.stdout, result.exit_code, seen) == (None, 0, ["streamed\n"])


def test_command_within_its_timeout_finishes(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("sleep 1 && echo done", timeout=20).stdout == "done\n"


def test_timeout_raises_and_kills_the_command(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutException):
        sandbox.commands.run("echo $$ > /tmp/timed-out; exec sleep 100", timeout=1)
    pid = sandbox.files.read("/tmp/timed-out").strip()
    assert_gone(sandbox, pid)


def test_background_command_outlives_its_start_call_and_can_be_awaited(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 0.3; echo background; exit 7", background=True)
    assert handle.pid > 0
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.stdout) == (7, "background\n")


def test_waiting_past_the_timeout_raises(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 100", background=True, timeout=1)
    with pytest.raises(TimeoutException):
        handle.wait()


def test_handle_can_be_iterated(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("echo a; sleep 0.2; echo b >&2", background=True)
    assert list(handle) == [("a\n", None, None), (None, "b\n", None)]


def test_disconnecting_leaves_the_command_running(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 1; echo finished > /tmp/after-disconnect", background=True)
    started = time.monotonic()
    handle.disconnect()
    assert time.monotonic() - started < 0.9, "disconnecting waited for the command"
    result = sandbox.commands.connect(handle.pid).wait()
    assert result.exit_code == 0
    assert sandbox.files.read("/tmp/after-disconnect") == "finished\n"


def test_connecting_gives_the_same_process_and_later_output(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read line; echo got $line", background=True, stdin=True)
    handle.disconnect()
    again = sandbox.commands.connect(handle.pid)
    assert again.pid == handle.pid
    sandbox.commands.send_stdin(handle.pid, "words\n")
    assert again.wait().stdout == "got words\n"


def test_connecting_to_a_process_that_does_not_exist_fails(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException, match=f"process with pid {MISSING_PID} not found"):
        sandbox.commands.connect(MISSING_PID)


def test_connecting_to_a_command_that_just_ended_gives_its_exit_code(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exit 9", background=True)
    with pytest.raises(CommandExitException):
        handle.wait()
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.connect(handle.pid).wait()
    assert caught.value.exit_code == 9


def test_killed_command_is_reaped_at_once(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exec sleep 100", background=True)
    assert sandbox.commands.kill(handle.pid) is True
    with pytest.raises(CommandExitException):
        sandbox.commands.run(f"kill -0 {handle.pid}")


def test_killing_a_process_that_does_not_exist_is_false(sandbox: Sandbox) -> None:
    assert sandbox.commands.kill(MISSING_PID) is False


def test_list_names_what_runs_and_forgets_what_ended(sandbox: Sandbox) -> None:
    handles = [sandbox.commands.run(f"exec sleep 10{number}", background=True, envs={"N": str(number)}, cwd="/tmp") for number in (1, 2)]
    listed = {process.pid: process for process in sandbox.commands.list()}
    for number, handle in zip((1, 2), handles, strict=True):
        process = listed[handle.pid]
        assert (process.cmd, process.args) == ("/bin/bash", ["-l", "-c", f"exec sleep 10{number}"])
        assert (process.envs, process.cwd) == ({"N": str(number)}, "/tmp")
        assert handle.kill() is True
        with pytest.raises(CommandExitException):
            handle.wait()
    assert not {handle.pid for handle in handles} & {process.pid for process in sandbox.commands.list()}


@pytest.mark.parametrize("data", ["Hello, World!", "!@#$%^&*()_+{}|", "two\nlines", "", "Grüße 🦕"])
def test_stdin_reaches_the_command(sandbox: Sandbox, data: str) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, data)
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == data


def test_stdin_takes_bytes_and_several_pieces(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    handle.send_stdin(b"bytes ")
    handle.send_stdin("text")
    handle.close_stdin()
    assert handle.wait().stdout == "bytes text"


def test_stdin_is_empty_unless_asked_for(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("cat; readlink /proc/self/fd/0").stdout == "/dev/null\n"
    handle = sandbox.commands.run("sleep 100", background=True)
    with pytest.raises(SandboxException, match="stdin not enabled or closed"):
        handle.send_stdin("nobody reads this")
    handle.kill()


def test_input_for_a_process_that_does_not_exist_fails(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException):
        sandbox.commands.send_stdin(MISSING_PID, "x")
    with pytest.raises(NotFoundException):
        sandbox.commands.close_stdin(MISSING_PID)
    with pytest.raises(NotFoundException):
        sandbox.commands.stream_input(MISSING_PID, ["x"])


def test_input_can_be_streamed(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, [f"piece {number}\n" for number in range(100)])
    handle.send_stdin(b"after the stream")
    handle.close_stdin()
    assert handle.wait().stdout == "".join(f"piece {number}\n" for number in range(100)) + "after the stream"


def test_a_stream_of_input_may_be_empty_or_outlive_its_process(sandbox: Sandbox) -> None:
    """Newest SDK §2.5: an answer before the end of the input is a success."""
    handle = sandbox.commands.run("head -c 3", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, [])

    def pieces() -> Iterator[bytes]:
        yield b"abc"
        time.sleep(1)  # longer than `head` takes; its handle is not for two threads at once

    sandbox.commands.stream_input(handle.pid, pieces())
    assert handle.wait().stdout == "abc"


def test_large_stdin_passes_with_back_pressure(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 0.3; wc -c", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, [b"x" * 65536] * 64)
    handle.close_stdin()
    assert handle.wait().stdout.strip() == str(64 * 65536)


def test_environment_of_the_sandbox_and_of_one_command(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("echo $FOO").stdout == "sandbox\n"
    assert sandbox.commands.run("echo $FOO", envs={"FOO": "command"}).stdout == "command\n"
    in_python = "python3 -c \"import os; print(os.environ['FOO'])\""
    assert sandbox.commands.run(in_python, envs={"FOO": "python"}).stdout == "python\n"
    assert sandbox.commands.run("echo $FOO").stdout == "sandbox\n"
    assert sandbox.commands.run("echo [$ONLY_ONCE]", envs={"OTHER": "x"}).stdout == "[]\n"


def test_default_user_and_its_home(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("whoami; echo $HOME $USER $LOGNAME; pwd")
    assert result.stdout == "user\n/home/user user user\n/home/user\n"


def test_command_as_root_and_as_nobody_known(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("whoami; echo $HOME", user="root").stdout == "root\n/root\n"
    with pytest.raises(Exception, match="invalid username: 'ghost'"):
        sandbox.commands.run("true", user="ghost")


def test_sudo_needs_no_password(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("sudo -n id -u").stdout == "0\n"


@pytest.mark.parametrize(("cwd", "expected"), [("/tmp", "/tmp"), ("~", "/home/user"), ("here", "/home/user/here"), ("/", "/")])
def test_working_directory(sandbox: Sandbox, cwd: str, expected: str) -> None:
    sandbox.files.make_dir("/home/user/here")
    assert sandbox.commands.run("pwd", cwd=cwd).stdout == f"{expected}\n"


def test_working_directory_that_does_not_exist_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentException, match="cwd '/no/such/place' does not exist"):
        sandbox.commands.run("pwd", cwd="/no/such/place")


def test_working_directory_that_the_user_may_not_enter_is_refused(sandbox: Sandbox) -> None:
    sandbox.commands.run("mkdir -p /var/closed && chmod 700 /var/closed", user="root")
    with pytest.raises(SandboxException):
        sandbox.commands.run("pwd", cwd="/var/closed")
    assert sandbox.commands.run("pwd", cwd="/var/closed", user="root").stdout == "/var/closed\n"


@pytest.mark.parametrize("user", ["user", "root"])
def test_commands_die_before_the_agent_when_memory_runs_out(sandbox: Sandbox, user: str) -> None:
    assert sandbox.commands.run("cat /proc/self/oom_score_adj", user=user).stdout == "100\n"


def test_timeout_ends_a_command_whose_child_keeps_the_output_open(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 30 &", background=True, timeout=1)
    with pytest.raises(TimeoutException):
        handle.wait()
    assert handle.pid not in [process.pid for process in sandbox.commands.list()]


@pytest.mark.parametrize("user", ["user", "root"])
def test_a_sandbox_without_room_for_processes_says_so_and_recovers(make_sandbox: Callable[..., Sandbox], user: str) -> None:
    """A fork bomb takes every process the sandbox may have: a start is refused clearly, everything else is still answered."""
    sandbox = make_sandbox()
    bomb = "import os, time\nwhile True:\n    try:\n        if os.fork() == 0: time.sleep(1000)\n    except OSError: time.sleep(0.1)"
    sandbox.files.write("/tmp/bomb.py", bomb)
    handle = sandbox.commands.run("exec python3 /tmp/bomb.py", background=True, user="root", timeout=0)
    deadline = time.monotonic() + 60
    while True:
        try:
            sandbox.commands.run("exec true", user=user)
        except RateLimitException as error:
            assert "error starting process: Resource temporarily unavailable" in str(error)  # noqa: PT017  # the loop is the test
            break
        except CommandExitException:  # started just in time, and found no room itself
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert sandbox.is_running()
    assert sandbox.files.exists("/tmp/bomb.py")
    assert handle.pid in [process.pid for process in sandbox.commands.list()]


def test_many_commands_at_once(sandbox: Sandbox) -> None:
    handles = [sandbox.commands.run(f"sleep 0.2; echo {number}", background=True) for number in range(20)]
    assert [handle.wait().stdout for handle in handles] == [f"{number}\n" for number in range(20)]


def test_command_with_a_lingering_child_that_let_go_of_its_output_ends(sandbox: Sandbox) -> None:
    started = time.monotonic()
    assert sandbox.commands.run("sleep 30 >/dev/null 2>&1 & echo started").stdout == "started\n"
    assert time.monotonic() - started < 20


def assert_gone(sandbox: Sandbox, pid: str) -> None:
    """A killed process may need a moment to be reaped when the kill came from a deadline and not from a request."""
    assert sandbox.commands.run(f"for i in $(seq 50); do kill -0 {pid} 2>/dev/null || exec echo gone; sleep 0.1; done").stdout == "gone\n"
