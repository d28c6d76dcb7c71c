"""Processes: what the SDK does not show."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.envd.driving import Agent, bash, output, seal, text

START = "process.Process/Start"


def wait_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def start_pid(event: dict[str, Any]) -> int:
    return int(event["event"]["start"]["pid"])


def test_events_of_a_command(agent: Agent) -> None:
    events = agent.stream(START, bash("echo out; exit 2"))
    assert list(events[0]["event"]) == ["start"]
    assert output(events) == b"out\n"
    assert events[-2:] == [{"event": {"end": {"exitCode": 2, "exited": True, "status": "exit status 2", "error": "exit status 2"}}}, {}]


def test_a_missing_command_is_no_error_of_the_start(agent: Agent) -> None:
    events = agent.stream(START, {"process": {"cmd": "does-not-exist"}})
    assert events[-2]["event"]["end"]["exitCode"] == 127
    assert b"not found" in output(events, "stderr")


# Signals 32 and 33 belong to the C library, which lets nobody change them; whoever started the tests may have ignored them.
_NOT_FOR_PROGRAMS = 1 << 31 | 1 << 32


def test_the_child_inherits_nothing(agent: Agent) -> None:
    events = agent.stream(
        START, bash("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; cat /proc/self/oom_score_adj; env")
    )
    text_out = output(events).decode()
    descriptors, _, rest = text_out.partition("SigBlk")
    assert descriptors.split() == ["0", "1", "2", "3"]  # 3 is the directory being listed
    assert rest.split()[:2] == [":", "0" * 16] or rest.split()[0] == ":"
    ignored = int(text_out.partition("SigIgn:\t")[2].split()[0], 16)
    assert ignored & ~_NOT_FOR_PROGRAMS == 0
    assert "0022\n100\n" in text_out
    names = {line.partition("=")[0] for line in text_out.partition("\n100\n")[2].splitlines()}
    assert names == {"PATH", "HOME", "USER", "LOGNAME", "FOO", "E2B_SANDBOX", "E2B_SANDBOX_ID", "E2B_TEMPLATE_ID", "PWD", "SHLVL", "_"}


def test_a_directory_the_user_may_not_enter(agent: Agent, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    request = {"process": {"cmd": "pwd", "cwd": str(closed)}}
    assert agent.stream(START, request)[0].keys() == {"event"}
    refused = agent.stream(START, request, authorization="Basic bm9ib2R5Og==")
    assert refused[0]["error"]["code"] == "invalid_argument"
    (tmp_path / "file").touch()
    assert "not a directory" in agent.stream(START, {"process": {"cmd": "pwd", "cwd": f"{tmp_path}/file"}})[0]["error"]["message"]


def test_a_kill_does_not_wait_for_who_holds_the_pipe(agent: Agent) -> None:
    with agent.open_stream(START, bash("echo before; sleep 50 & echo $!; wait")) as stream:
        pid = start_pid(stream.next())
        said = output([stream.next()])
        while said.count(b"\n") < 2:
            said += output([stream.next()])
        assert agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"}) == (200, {})
        assert stream.next()["event"]["end"] == {"exitCode": -1, "status": "signal: killed", "error": "signal: killed"}
        _, listed = agent.call("process.Process/List", {})
        assert pid not in [process["pid"] for process in listed.get("processes", [])]
    grandchild = int(said.split()[1])
    os.kill(grandchild, signal.SIGKILL)


def test_without_a_kill_the_end_waits_for_the_pipe(agent: Agent) -> None:
    began = time.monotonic()
    events = agent.stream(START, bash("(sleep 0.4; echo late) & echo early"))
    assert output(events) == b"early\nlate\n"
    assert time.monotonic() - began >= 0.4


def test_deadline(agent: Agent) -> None:
    with agent.open_stream(START, bash("exec sleep 60"), connect_timeout_ms="300") as stream:
        pid = start_pid(stream.next())
        assert stream.next() == {"error": {"code": "deadline_exceeded", "message": "context deadline exceeded"}}
    wait_gone(pid)


def test_deadline_holds_when_nobody_listens(agent: Agent) -> None:
    with agent.open_stream(START, bash("exec sleep 60"), connect_timeout_ms="300") as stream:
        pid = start_pid(stream.next())
    wait_gone(pid)


def test_connect_to_a_finished_process(agent: Agent) -> None:
    agent.stream(START, {**bash("exit 4"), "tag": "finished"})
    events = agent.stream("process.Process/Connect", {"process": {"tag": "finished"}})
    assert [list(event["event"]) for event in events[:-1]] == [["start"], ["end"]]
    assert events[1]["event"]["end"]["exitCode"] == 4
    assert (
        agent.stream("process.Process/Connect", {"process": {"tag": "never"}})[0]["error"]["message"] == "process with tag never not found"
    )
    assert agent.stream("process.Process/Connect", {})[0]["error"]["code"] == "unimplemented"


def test_two_listeners_and_keepalive(agent: Agent) -> None:
    request = {"process": {"cmd": "cat"}, "tag": "shared"}
    with (
        agent.open_stream(START, request, keepalive_ping_interval="1") as first,
        agent.open_stream("process.Process/Connect", {"process": {"tag": "shared"}}) as second,
    ):
        pid = start_pid(first.next())
        assert start_pid(second.next()) == pid
        assert first.next() == {"event": {"keepalive": {}}}
        selector = {"process": {"tag": "shared"}}
        assert agent.call("process.Process/SendInput", {**selector, "input": {"stdin": text(b"to all")}}) == (200, {})
        assert output([second.next()]) == b"to all"
        agent.call("process.Process/CloseStdin", selector)
        agent.call("process.Process/CloseStdin", selector)
        assert [list(event.get("event", {})) for event in second] == [["end"], []]


def test_a_slow_reader_holds_the_process_back(agent: Agent, tmp_path: Path) -> None:
    """The process cannot run ahead by more than what the buffers between hold."""
    script = f"i=0; while [ $i -lt 400 ]; do head -c 100000 /dev/zero; i=$((i+1)); echo $i > {tmp_path}/count; done"
    with agent.open_stream(START, bash(script)) as stream:
        stream.next()
        last = -1
        while True:  # until it stands still
            time.sleep(0.3)
            now = int((tmp_path / "count").read_text() or 0)
            if now == last:
                break
            last = now
        assert last < 300
        assert len(output(list(stream))) == 400 * 100_000
    assert (tmp_path / "count").read_text() == "400\n"


def test_output_nobody_reads_is_dropped(agent: Agent, tmp_path: Path) -> None:
    with agent.open_stream(START, bash(f"sleep 0.2; head -c 3000000 /dev/zero; echo done > {tmp_path}/flag")) as stream:
        stream.next()
    while not (tmp_path / "flag").exists():
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("procedure", "message", "status", "words"),
    [
        ("SendInput", {"input": {"stdin": "eA=="}}, 500, "error writing to stdin: stdin not enabled or closed"),
        ("SendInput", {"input": {"pty": "eA=="}}, 500, "error writing to tty"),
        ("SendInput", {}, 501, "invalid input type"),
        ("SendSignal", {"signal": 1}, 501, "invalid signal"),
        ("Update", {"pty": {"size": {"cols": 1, "rows": 1}}}, 500, "error resizing tty"),
        ("Update", {}, 200, ""),
        ("CloseStdin", {}, 200, ""),
    ],
)
def test_what_a_process_without_stdin_answers(agent: Agent, procedure: str, message: dict[str, Any], status: int, words: str) -> None:
    with agent.open_stream(START, bash("exec sleep 60")) as stream:
        selector = {"process": {"pid": start_pid(stream.next())}}
        answered, body = agent.call(f"process.Process/{procedure}", {**selector, **message})
        assert answered == status
        assert words in body.get("message", "")
        agent.call("process.Process/SendSignal", {**selector, "signal": "SIGNAL_SIGTERM"})
        assert stream.next()["event"]["end"]["status"] == "signal: terminated"


def test_terminal(agent: Agent) -> None:
    request = {"process": {"cmd": "/bin/bash", "args": ["--norc", "-i"]}, "pty": {"size": {"cols": 80, "rows": 24}}}
    with agent.open_stream(START, request) as stream:
        selector = {"process": {"pid": start_pid(stream.next())}}
        status, body = agent.call("process.Process/CloseStdin", selector)
        assert (status, body["code"]) == (500, "unknown")
        assert agent.call("process.Process/SendInput", {**selector, "input": {"stdin": "eA=="}})[1]["code"] == "internal"
        keys = "tty; stty size; cat /proc/$$/stat | cut -d' ' -f7; exit 5\n"
        assert agent.call("process.Process/SendInput", {**selector, "input": {"pty": text(keys.encode())}}) == (200, {})
        events = list(stream)
    shown = output(events, "pty")
    assert b"/dev/pts/" in shown
    assert b"24 80" in shown
    assert events[-2]["event"]["end"]["exitCode"] == 5


def test_stream_input_errors(agent: Agent) -> None:
    def send(*messages: dict[str, Any]) -> bytes:
        body = b"".join(seal(message) for message in messages)
        return agent.request("POST", "/process.Process/StreamInput", body, {"content-type": "application/connect+json"})[2]

    assert b'"code":"invalid_argument"' in send({"data": {"input": {"stdin": "eA=="}}})
    assert b'"code":"not_found"' in send({"start": {"process": {"pid": 999999}}})
    assert send({"keepalive": {}}) == seal({}) + seal({}, 2)


def test_no_descriptor_is_left_behind(agent: Agent) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{agent.process.pid}/fd"))

    agent.stream(START, bash("true"))
    before = descriptors()
    for _ in range(5):
        agent.stream(START, bash("true"))
        agent.stream(START, {"process": {"cmd": "cat", "cwd": "/missing"}})
        agent.stream(START, {**bash("true"), "pty": {"size": {"cols": 9, "rows": 9}}})
    while descriptors() > before:
        time.sleep(0.02)
