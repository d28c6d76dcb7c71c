"""Processes by the letter of the data-plane contract: §2.4 start, §2.5 lifetime, §2.6 output, §2.7 ends, §2.8 connect, §2.9 input."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.envd.driving import Agent, bash, output, seal, text

START = "process.Process/Start"
NOBODY = "Basic bm9ib2R5Og=="


def start_pid(event: dict[str, Any]) -> int:
    return int(event["event"]["start"]["pid"])


def end_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[-1] == {}
    end: dict[str, Any] = events[-2]["event"]["end"]
    return end


def listed_pids(agent: Agent) -> list[int]:
    return [process["pid"] for process in agent.call("process.Process/List", {})[1].get("processes", [])]


def children_of(agent: Agent) -> str:
    return Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text()


def run_direct(agent: Agent, *command: str, **headers: str) -> list[dict[str, Any]]:
    return agent.stream(START, {"process": {"cmd": command[0], "args": command[1:], "cwd": "/"}, "stdin": False}, **headers)


class TestStart:
    """Data-plane contract §2.4."""

    @pytest.mark.parametrize("name", ["/no/such/program", "no-such-program", "./no-such-program"])
    def test_a_command_that_does_not_exist_ends_with_127_and_words_of_the_shell(self, agent: Agent, name: str) -> None:
        events = run_direct(agent, name)
        assert end_of(events)["exitCode"] == 127
        assert b"not found" in output(events, "stderr")

    def test_a_command_that_may_not_run_ends_with_126(self, agent: Agent, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.write_text("#!/bin/sh\necho never\n")
        events = run_direct(agent, str(plain))
        assert end_of(events)["exitCode"] == 126
        assert b"ermission denied" in output(events, "stderr")
        assert end_of(run_direct(agent, "/tmp"))["exitCode"] == 126

    def test_a_script_without_interpreter_line_runs_as_in_a_shell(self, agent: Agent, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("echo from $1\n")
        script.chmod(0o755)
        assert output(run_direct(agent, str(script), "here")) == b"from here\n"

    def test_the_command_is_found_by_the_path_of_the_request(self, agent: Agent, tmp_path: Path) -> None:
        program = tmp_path / "only-here"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(0o755)
        request = {"process": {"cmd": "only-here", "envs": {"PATH": f"{tmp_path}:/bin"}}, "stdin": False}
        assert output(agent.stream(START, request)) == b"found\n"

    @pytest.mark.parametrize("authorization", ["", NOBODY])
    @pytest.mark.parametrize("command", ["/bin/cat", "cat"])
    @pytest.mark.parametrize("pty", [False, True])
    def test_commands_die_before_the_agent_when_memory_runs_out(self, agent: Agent, authorization: str, command: str, pty: bool) -> None:
        request: dict[str, Any] = {"process": {"cmd": command, "args": ["/proc/self/oom_score_adj"], "cwd": "/"}}
        events = agent.stream(START, request | ({"pty": {}} if pty else {}), authorization=authorization)
        assert output(events, "pty" if pty else "stdout").strip() == b"100"
        assert Path(f"/proc/{agent.process.pid}/oom_score_adj").read_text() == Path("/proc/self/oom_score_adj").read_text()

    @pytest.mark.parametrize(("authorization", "shown"), [("", "0 0 0"), (NOBODY, "65534 65534 65534")])
    def test_all_ids_are_the_users(self, agent: Agent, authorization: str, shown: str) -> None:
        events = run_direct(agent, "/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G)", authorization=authorization)
        assert output(events).decode().strip() == shown
        status = output(run_direct(agent, "/bin/cat", "/proc/self/status", authorization=authorization)).decode()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert uids == [shown.split()[0]] * 4

    def test_later_variables_win(self, agent: Agent) -> None:
        request = {"process": {"cmd": "/usr/bin/env", "envs": {"FOO": "request", "HOME": "/elsewhere", "E=": "x"}}}
        assert agent.stream(START, request)[0]["error"]["code"] == "invalid_argument"
        del request["process"]["envs"]["E="]  # type: ignore[attr-defined]
        lines = output(agent.stream(START, request)).decode().splitlines()
        assert {"FOO=request", "HOME=/elsewhere", "USER=root", "LOGNAME=root"} <= set(lines)
        assert not any(line.startswith(("TERM=", "LANG=")) for line in lines)

    @pytest.mark.parametrize("part", [{"cmd": "a\0b"}, {"args": ["a\0b"]}, {"envs": {"A": "a\0b"}}, {"envs": {"A\0": "b"}}, {"cwd": "/\0"}])
    def test_a_nul_byte_anywhere_is_invalid(self, agent: Agent, part: dict[str, Any]) -> None:
        events = agent.stream(START, {"process": {"cmd": "true", **part}})
        assert [event["error"]["code"] for event in events] == ["invalid_argument"]

    @pytest.mark.parametrize("arguments", [["x" * 200_000], ["x" * 1000] * 10_000])
    def test_arguments_that_the_kernel_refuses_are_invalid(self, agent: Agent, arguments: list[str]) -> None:
        for command in ("/bin/true", "true"):
            events = agent.stream(START, {"process": {"cmd": command, "args": arguments}})
            assert events[0]["error"] == {"code": "invalid_argument", "message": "error starting process: Argument list too long"}

    def test_an_empty_command_is_no_crash(self, agent: Agent) -> None:
        assert end_of(run_direct(agent, ""))["exitCode"] != 0

    @pytest.mark.parametrize("pty", [False, True])
    def test_a_working_directory_that_does_not_exist_is_invalid(self, agent: Agent, pty: bool) -> None:
        request = {"process": {"cmd": "pwd", "cwd": "/no/such"}} | ({"pty": {}} if pty else {})
        assert agent.stream(START, request) == [{"error": {"code": "invalid_argument", "message": "cwd '/no/such' does not exist"}}]
        assert agent.stream(START, {"process": {"cmd": "pwd", "cwd": "~user/x"}})[0]["error"]["code"] == "invalid_argument"

    def test_standard_input_is_open_unless_refused(self, agent: Agent) -> None:
        with agent.open_stream(START, {"process": {"cmd": "cat"}}) as stream:
            selector = {"process": {"pid": start_pid(stream.next())}}
            assert agent.call("process.Process/SendInput", {**selector, "input": {"stdin": text(b"in")}})[0] == 200
            assert agent.call("process.Process/SendInput", {**selector, "input": {"stdin": ""}}) == (200, {})
            assert agent.call("process.Process/CloseStdin", selector) == (200, {})
            assert output(list(stream)) == b"in"
        assert output(run_direct(agent, "/bin/readlink", "/proc/self/fd/0")) == b"/dev/null\n"

    def test_a_failed_start_leaves_no_child_and_no_descriptor(self, agent: Agent) -> None:
        def descriptors() -> int:
            return len(os.listdir(f"/proc/{agent.process.pid}/fd"))

        run_direct(agent, "/no/such")
        before = descriptors()
        parts: list[dict[str, Any]] = [{"args": ["x" * 200_000]}, {"cmd": "/no/such"}, {"envs": {"A": "\0"}}, {"cwd": "/etc/passwd"}]
        for part in parts:
            agent.stream(START, {"process": {"cmd": "true", **part}})
            agent.stream(START, {"process": {"cmd": "true", **part}, "pty": {}})
        while descriptors() > before:
            time.sleep(0.02)
        assert children_of(agent) == ""

    @pytest.mark.parametrize(("size", "shown"), [((4_000_000_000, 70_000), "65535 65535"), ((1, 1), "1 1"), ((0, 0), "24 80")])
    def test_absurd_terminal_sizes_are_cut_to_what_a_terminal_has(self, agent: Agent, size: tuple[int, int], shown: str) -> None:
        request = {"process": {"cmd": "stty", "args": ["size"]}, "pty": {"size": {"cols": size[0], "rows": size[1]}}}
        assert output(agent.stream(START, request), "pty").decode().strip() == shown


class TestUsers:
    """Data-plane contract §2.3."""

    @pytest.mark.parametrize("procedure", ["List", "Update", "SendInput", "SendSignal", "CloseStdin"])
    def test_an_unknown_user_is_unauthenticated_on_any_unary_call(self, agent: Agent, procedure: str) -> None:
        status, body = agent.call(f"process.Process/{procedure}", {}, authorization="Basic Z2hvc3Q6")
        assert (status, body) == (401, {"code": "unauthenticated", "message": "invalid username: 'ghost'"})

    @pytest.mark.parametrize("procedure", ["Start", "Connect", "StreamInput"])
    def test_an_unknown_user_is_unauthenticated_on_any_stream(self, agent: Agent, procedure: str) -> None:
        events = agent.stream(f"process.Process/{procedure}", {}, authorization="Basic Z2hvc3Q6")
        assert events == [{"error": {"code": "unauthenticated", "message": "invalid username: 'ghost'"}}]

    @pytest.mark.parametrize("authorization", ["Bearer x", "Basic", "Basic !", "Basic Og==", "Basic Z2hvc3Q=", "Basic /w==", "\xff"])
    def test_what_names_no_user_means_the_default_one(self, agent: Agent, authorization: str) -> None:
        assert output(run_direct(agent, "/usr/bin/whoami", authorization=authorization)) == b"root\n"

    def test_a_password_is_ignored(self, agent: Agent) -> None:
        assert output(run_direct(agent, "/usr/bin/whoami", authorization="Basic bm9ib2R5OnNlY3JldA==")) == b"nobody\n"

    def test_any_caller_may_control_any_process(self, agent: Agent) -> None:
        with agent.open_stream(START, bash("exec sleep 60")) as stream:
            selector = {"process": {"pid": start_pid(stream.next())}}
            assert agent.call("process.Process/SendSignal", {**selector, "signal": 9}, authorization=NOBODY) == (200, {})
            assert end_of(list(stream))["error"] == "signal: killed"


class TestEnds:
    """Data-plane contract §2.5, §2.6, §2.7."""

    def test_the_deadline_ends_what_only_a_grandchild_keeps_open(self, agent: Agent) -> None:
        """Also after the caller has left; the grandchild lives on, as only the direct process is killed."""
        with agent.open_stream(START, bash("sleep 50 & echo $!"), connect_timeout_ms="700") as stream:
            pid = start_pid(stream.next())
            grandchild = int(output([stream.next()]))
        assert pid in listed_pids(agent)
        while pid in listed_pids(agent):
            time.sleep(0.05)
        os.kill(grandchild, signal.SIGKILL)

    def test_a_timeout_of_connect_leaves_the_process_alone(self, agent: Agent) -> None:
        with agent.open_stream(START, bash("exec sleep 60")) as stream:
            pid = start_pid(stream.next())
            events = agent.stream("process.Process/Connect", {"process": {"pid": pid}}, connect_timeout_ms="100")
            assert events[-1]["error"]["code"] == "deadline_exceeded"
            assert pid in listed_pids(agent)
            agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": 15})
            assert end_of(list(stream))["status"] == "signal: terminated"

    def test_the_end_follows_both_outputs(self, agent: Agent) -> None:
        events = agent.stream(START, bash("exec 1>&-; (sleep 0.2; echo last >&2) &"))
        assert output(events, "stderr") == b"last\n"
        assert end_of(events) == {"exited": True, "status": "exit status 0"}

    def test_a_crash_says_which_signal_and_whether_a_core_was_written(self, agent: Agent) -> None:
        end = end_of(agent.stream(START, bash("ulimit -c 0; kill -SEGV $$")))
        assert end["exitCode"] == -1
        assert end["status"] in ("signal: segmentation fault", "signal: segmentation fault (core dumped)")
        assert end["error"] == end["status"]

    def test_who_is_told_of_the_end_finds_neither_process_nor_entry(self, agent: Agent) -> None:
        for _ in range(10):
            with agent.open_stream(START, bash("exec sleep 60")) as stream:
                pid = start_pid(stream.next())
                agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
                assert "end" in stream.next()["event"]
                assert not Path(f"/proc/{pid}").exists()
                assert pid not in listed_pids(agent)

    def test_a_new_process_with_the_tag_takes_the_retained_end_away(self, agent: Agent) -> None:
        """Data-plane contract §2.8."""
        connect = "process.Process/Connect"
        agent.stream(START, {**bash("exit 3"), "tag": "reused"})
        assert end_of(agent.stream(connect, {"process": {"tag": "reused"}}))["exitCode"] == 3
        with agent.open_stream(START, {**bash("read x; exit 4"), "tag": "reused", "stdin": True}) as stream:
            pid = start_pid(stream.next())
            with agent.open_stream(connect, {"process": {"tag": "reused"}}) as second:
                assert start_pid(second.next()) == pid
                agent.call("process.Process/CloseStdin", {"process": {"tag": "reused"}})
                assert end_of(list(second))["exitCode"] == 4
        assert end_of(agent.stream(connect, {"process": {"tag": "reused"}}))["exitCode"] == 4

    def test_a_slow_reader_holds_back_the_others_until_it_leaves(self, agent: Agent) -> None:
        """§2.6: one central order for all who listen."""
        size = 40_000_000
        with ExitStack() as stack:
            first = stack.enter_context(agent.open_stream(START, bash(f"read go; head -c {size} /dev/zero") | {"stdin": True}))
            selector = {"process": {"pid": start_pid(first.next())}}
            with agent.open_stream("process.Process/Connect", selector) as slow:
                slow.next()
                agent.call("process.Process/SendInput", {**selector, "input": {"stdin": text(b"go\n")}})
                assert len(output([first.next()])) > 0
                time.sleep(0.5)
            assert len(output(list(first))) > size - 32 * 1024 - 1


class TestStreamInput:
    """§2.9 and the newest SDK's §2.5: one `{}` message and the end, whatever the moment of the answer."""

    HEAD = (
        b"POST /process.Process/StreamInput HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )

    @staticmethod
    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    def test_messages_cut_anywhere_with_keepalives_between(self, agent: Agent) -> None:
        with agent.open_stream(START, {"process": {"cmd": "cat"}}) as stream:
            selector = {"process": {"pid": start_pid(stream.next())}}
            messages: list[dict[str, Any]] = [
                {"start": selector},
                {"keepalive": {}},
                *({"data": {"input": {"stdin": text(b"%d," % n)}}} for n in range(20)),
            ]
            data = b"".join(seal(message) for message in messages)
            with agent.connect() as connection:
                connection.sendall(self.HEAD)
                for start in range(0, len(data), 7):
                    connection.sendall(self.chunk(data[start : start + 7]))
                connection.sendall(b"0\r\n\r\n")
                received = b""
                while not received.endswith(b"0\r\n\r\n"):
                    received += connection.recv(4096)
            assert b"HTTP/1.1 200 OK" in received
            assert b"application/connect+json" in received
            assert received.count(seal({})) == 1
            assert received.count(seal({}, 2)) == 1
            agent.call("process.Process/CloseStdin", selector)
            assert output(list(stream)) == b"".join(b"%d," % n for n in range(20))

    def test_the_end_of_the_process_answers_before_the_end_of_the_input(self, agent: Agent) -> None:
        with agent.open_stream(START, {"process": {"cmd": "cat"}}) as stream, agent.connect() as connection:
            selector = {"process": {"pid": start_pid(stream.next())}}
            connection.sendall(self.HEAD + self.chunk(seal({"start": selector})))
            agent.call("process.Process/CloseStdin", selector)
            assert end_of(list(stream))["status"] == "exit status 0"
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                piece = connection.recv(4096)
                assert piece
                received += piece
        assert seal({}) in received
        assert seal({}, 2) in received

    def test_an_error_comes_at_once(self, agent: Agent) -> None:
        with agent.connect() as connection:
            connection.sendall(self.HEAD + self.chunk(seal({"data": {"input": {"stdin": "eA=="}}})))
            received = b""
            while b"invalid_argument" not in received:
                received += connection.recv(4096)
        assert b"HTTP/1.1 200 OK" in received
