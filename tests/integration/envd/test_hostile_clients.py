"""Clients and commands that mean harm: the agent stays small, answers others, and says clearly what it refuses."""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbank.envd.transport.connection import MAX_HEAD_BYTES, MAX_HEADERS
from tests.integration.envd.driving import Agent, bash, output, running_agent, seal, text
from tests.integration.envd.test_wire import HEALTH, receive_all, receive_until, resident_bytes

START = "process.Process/Start"
STREAM = b"Content-Type: application/connect+json\r\n"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """One that may be left in any state."""
    with running_agent() as running:
        yield running


def assert_serves(agent: Agent) -> None:
    assert agent.request("GET", "/health")[0] == 204
    assert output(agent.stream(START, bash("echo fine"))) == b"fine\n"


def pour(connection: socket.socket, data: bytes, times: int) -> bytes:
    """Send until it is all sent or the agent has had enough; what it answered."""
    connection.settimeout(20)
    try:
        for _ in range(times):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)
    except ConnectionError:
        return b""


class TestHeads:
    """A head, its fields and the trailer are bounded."""

    @pytest.mark.parametrize(
        "begin",
        [
            b"GET /",
            b"GET / HTTP/1.1\r\nX: ",
            b"GET / HTTP/1.1\r\n",
            b"POST /process.Process/List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            b"POST /process.Process/List HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        ],
        ids=["target", "value", "name", "chunk extension", "trailer"],
    )
    def test_a_field_that_never_ends_is_cut_off(self, agent: Agent, begin: bytes) -> None:
        before = resident_bytes(agent)
        with agent.connect() as connection:
            connection.sendall(begin)
            answer = pour(connection, b"x" * 65536, 800)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert resident_bytes(agent) - before < 8 * MIB
        assert_serves(agent)

    def test_too_many_fields_are_refused(self, agent: Agent) -> None:
        fields = b"".join(b"x%d: 1\r\n" % number for number in range(MAX_HEADERS + 1))
        with agent.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\n" + fields + b"\r\n")
            assert receive_all(connection).startswith(b"HTTP/1.1 431 ")

    def test_a_large_head_after_a_large_body_is_served(self, agent: Agent) -> None:
        """The bound on what is unaccounted for does not count a body that came before."""
        body = b"{" + b" " * (2 * MAX_HEAD_BYTES) + b"}"
        first = b"POST /process.Process/List HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        second = b"GET /health HTTP/1.1\r\nConnection: close\r\nX: " + b"y" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n"
        with agent.connect() as connection:
            connection.sendall(first + body + second)
            data = receive_all(connection)
        assert data.startswith(b"HTTP/1.1 200 OK")
        assert b"HTTP/1.1 204 No Content" in data


class TestMessages:
    """Envelopes and bodies are bounded, one by one and together."""

    def test_an_envelope_of_four_gibibytes_is_refused_at_once(self, agent: Agent) -> None:
        with agent.connect() as connection:
            connection.sendall(b"POST /process.Process/Start HTTP/1.1\r\n" + STREAM + b"Transfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"5\r\n" + struct.pack(">BI", 0, 0xFFFF_FFFF) + b"\r\n")
            assert b'"resource_exhausted"' in receive_until(connection, b"0\r\n\r\n")

    def test_a_second_message_for_a_server_stream_is_refused_without_waiting_for_more(self, agent: Agent) -> None:
        with agent.connect() as connection:
            connection.sendall(b"POST /process.Process/Connect HTTP/1.1\r\n" + STREAM + b"Content-Length: 999999999\r\n\r\n")
            connection.sendall(seal({}) * 2)
            assert b'"unimplemented"' in receive_until(connection, b"0\r\n\r\n")

    def test_compressed_bombs_do_not_unfold(self, agent: Agent) -> None:
        bomb = gzip.compress(bytes(400 * MIB), 9)
        before = resident_bytes(agent)
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        status, _, body = agent.request("POST", "/process.Process/List", bomb, headers)
        assert (status, b"resource_exhausted" in body) == (429, True)
        headers = {"content-type": "application/connect+json", "connect-content-encoding": "gzip"}
        _, _, body = agent.request("POST", "/process.Process/Start", struct.pack(">BI", 1, len(bomb)) + bomb, headers)
        assert b"resource_exhausted" in body
        assert resident_bytes(agent) - before < 32 * MIB

    def test_many_large_messages_together_are_bounded_while_small_ones_pass(self, agent: Agent) -> None:
        head = b"POST /process.Process/SendInput HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n"
        before = resident_bytes(agent)
        with ExitStack() as stack:
            refused = 0
            for _ in range(6):
                connection = stack.enter_context(agent.connect())
                connection.sendall(head)
                try:
                    connection.settimeout(3)
                    connection.sendall(b" " * 30 * MIB)
                    connection.settimeout(0.2)
                    refused += b"resource_exhausted" in connection.recv(4096)
                except (ConnectionError, TimeoutError):
                    pass
            assert refused > 0
            assert resident_bytes(agent) - before < 150 * MIB
            assert_serves(agent)
        assert_serves(agent)

    def test_input_for_a_process_that_does_not_read_keeps_nobody_else_waiting(self, agent: Agent) -> None:
        with agent.open_stream(START, {"process": {"cmd": "sleep", "args": ["600"]}}) as stream, ExitStack() as stack:
            selector = {"process": {"pid": stream.next()["event"]["start"]["pid"]}}
            body = seal({"start": selector}) + seal({"data": {"input": {"stdin": text(bytes(300_000))}}})
            request = b"POST /process.Process/StreamInput HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (STREAM, len(body), body)
            waiting = [stack.enter_context(agent.connect()) for _ in range(20)]
            for connection in waiting:
                connection.sendall(request)
            assert_serves(agent)
            assert agent.call("process.Process/SendSignal", {**selector, "signal": "SIGNAL_SIGKILL"}) == (200, {})
            assert "end" in stream.next()["event"]
            for connection in waiting:
                assert b'"error writing to stdin' in receive_until(connection, b"0\r\n\r\n")


class TestConnections:
    def test_thousands_of_idle_connections_and_incomplete_heads(self, agent: Agent) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        before = resident_bytes(agent)
        try:
            with ExitStack() as stack:
                for number in range(3000):
                    connection = stack.enter_context(agent.connect())
                    if number % 2:
                        connection.sendall(HEALTH[:-2])
                assert_serves(agent)
                assert resident_bytes(agent) - before < 60 * MIB
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert_serves(agent)

    def test_hundreds_of_streams_of_one_process(self, agent: Agent) -> None:
        with agent.open_stream(START, {"process": {"cmd": "cat"}}) as stream, ExitStack() as stack:
            selector = {"process": {"pid": stream.next()["event"]["start"]["pid"]}}
            listeners = [stack.enter_context(agent.open_stream("process.Process/Connect", selector)) for _ in range(300)]
            for listener in listeners:
                listener.next()
            agent.call("process.Process/SendInput", {**selector, "input": {"stdin": text(b"all")}})
            agent.call("process.Process/CloseStdin", selector)
            assert {output(list(listener)) for listener in listeners} == {b"all"}

    def test_a_vanished_client_is_probed_for(self, agent: Agent) -> None:
        """TCP keepalive is on for each accepted connection, so a client without a last word does not stay for ever."""
        with agent.connect() as connection:
            connection.sendall(HEALTH)
            receive_until(connection, b"\r\n\r\n")
            ends = [f"{name()[1]:04X}" for name in (connection.getpeername, connection.getsockname)]
            lines = Path("/proc/net/tcp").read_text().splitlines()
        timers = [line.split()[5] for line in lines if [end.rpartition(":")[2] for end in line.split()[1:3]] == ends]
        assert [timer.partition(":")[0] for timer in timers] == ["02"]


class TestOutput:
    def test_floods_that_nobody_reads_are_held_back_at_their_source(self, agent: Agent) -> None:
        before = resident_bytes(agent)
        with ExitStack() as stack:
            streams = [stack.enter_context(agent.open_stream(START, bash("exec cat /dev/zero"))) for _ in range(40)]
            pids = [stream.next()["event"]["start"]["pid"] for stream in streams]
            time.sleep(2)
            assert resident_bytes(agent) - before < 40 * MIB
            assert agent.request("GET", "/health")[0] == 204
            for pid in pids:
                agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
        assert_serves(agent)

    def test_hundreds_of_short_commands_at_once_all_end_and_are_reaped(self, agent: Agent) -> None:
        with ExitStack() as stack:
            streams = [stack.enter_context(agent.open_stream(START, bash(f"seq 1000; exit {n % 3}"))) for n in range(200)]
            for number, stream in enumerate(streams):
                events = list(stream)
                assert output(events) == b"".join(b"%d\n" % n for n in range(1, 1001))
                assert events[-2]["event"]["end"].get("exitCode", 0) == number % 3
        pid = agent.process.pid
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


class TestExhaustion:
    @pytest.mark.parametrize("pty", [False, True])
    def test_without_room_for_a_process_the_start_says_so(self, pty: bool) -> None:
        """The agent's user may have no more processes; what it says is `resource_exhausted`, and later it works again."""
        with running_agent() as agent:
            assert_serves(agent)
            resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            with agent.connect() as connection, contextlib.suppress(OSError):
                # Until it has been dealt with, in whatever way: what comes next must not share its fate.
                connection.settimeout(2)
                connection.recv(1)
            resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
            held = len(os.listdir(f"/proc/{agent.process.pid}/fd"))
            with agent.connect() as connection:
                connection.sendall(HEALTH)
                receive_until(connection, b"\r\n\r\n")
                resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (held + 2, 4096))
                body = seal(bash("true") | ({"pty": {}} if pty else {}))
                connection.sendall(b"POST /process.Process/Start HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (STREAM, len(body), body))
                answer = receive_until(connection, b"0\r\n\r\n")
                assert b'{"code":"resource_exhausted","message":"error starting process: Too many open files"}' in answer
                resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
            assert_serves(agent)
