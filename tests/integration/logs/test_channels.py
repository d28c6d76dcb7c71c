"""The node's end of the way out of a sandbox, against peers that mean harm (data-plane contract §5.3, §11.4, §12.5)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from sandbank.aiokit.pace import Pace
from sandbank.aiokit.tasks import TaskGroup
from sandbank.contracts.orchestrator import SandboxConfig
from sandbank.domain.log_record import MAX_LINE_BYTES, LogRecord
from sandbank.orchestrator.adapters import log_channels
from sandbank.orchestrator.adapters.log_channels import LogChannels
from sandbank.orchestrator.core.sandbox import RunningSandbox


class Sink:
    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def write(self, record: LogRecord) -> None:
        self.records.append(record)

    def of(self, sandbox_id: str, service: str = "envd") -> list[LogRecord]:
        return [record for record in self.records if record.subject.sandbox_id == sandbox_id and record.service == service]


class Node:
    """Channels whose sandboxes are ports of this machine."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.tasks = TaskGroup("test", self._failed)
        self.failures: list[BaseException] = []
        self.listeners: dict[str, socket.socket] = {}
        self.channels = LogChannels(self._listen, self.sink, self.tasks)

    def _failed(self, task: str, error: BaseException) -> None:
        self.failures.append(error)

    def _listen(self, sandbox_id: str, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=2)
        listener.setblocking(False)
        self.listeners[sandbox_id] = listener
        return listener

    def open(self, sandbox_id: str) -> tuple[str, int]:
        config = SandboxConfig(sandbox_id=sandbox_id, template_id="template", build_id="build")
        now = datetime.now(UTC)
        sandbox = RunningSandbox(sandbox_id, "e", "team", now, now, 1, 1, 1, None, None, False, config.SerializeToString())
        self.channels.open(sandbox)
        address: tuple[str, int] = self.listeners[sandbox_id].getsockname()
        return address


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    before = len(os.listdir("/proc/self/fd"))
    yield node
    node.channels.close_all()
    await node.tasks.close()
    await asyncio.sleep(0)
    assert node.failures == []
    assert len(os.listdir("/proc/self/fd")) <= before


async def send(address: tuple[str, int], data: bytes) -> bytes:
    """What the agent does: everything, the end, and the node's word."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            writer.write_eof()
            return await reader.read()
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def line(message: str, **fields: object) -> bytes:
    return json.dumps({"message": message, "level": "info", **fields}).encode() + b"\n"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_lines_arrive_stamped_and_acknowledged(node: Node) -> None:
    assert await send(node.open("i1"), line("a", pid=1) + line("b")) == b"\n"
    first, second = node.sink.of("i1")
    assert (first.message, second.message, first.fields) == ("a", "b", {"pid": 1})
    assert (first.subject.team_id, first.subject.template_id, first.subject.build_id) == ("team", "template", "build")


async def test_one_connection_after_another_is_taken(node: Node) -> None:
    address = node.open("i1")
    for number in range(5):
        assert await send(address, line(str(number))) == b"\n"
    assert [record.message for record in node.sink.of("i1")] == ["0", "1", "2", "3", "4"]


async def test_forged_ids_change_nothing(node: Node) -> None:
    address = node.open("i1")
    node.open("i2")
    forged = {"sandboxID": "i2", "instanceID": "i2", "teamID": "other", "service": "orchestrator", "category": "metrics", "internal": True}
    await send(address, line("x", **forged))
    assert [record.subject.sandbox_id for record in node.sink.records] == ["i1"]
    assert (node.sink.records[0].service, node.sink.records[0].category) == ("envd", "default")


async def test_binary_garbage_is_counted_and_said(node: Node) -> None:
    address = node.open("i1")
    assert await send(address, b"\x00\xff\xfe\n[1]\n" + os.urandom(4096).replace(b"\n", b"") + b"\n" + line("fine")) == b"\n"
    assert [record.message for record in node.sink.of("i1")] == ["fine"]
    await until(lambda: bool(node.sink.of("i1", "orchestrator")))
    (notice,) = node.sink.of("i1", "orchestrator")
    assert (notice.level, notice.fields["not_json"]) == ("warn", 3)


async def test_a_line_above_the_limit_is_dropped_and_the_next_one_kept(node: Node) -> None:
    address = node.open("i1")
    assert await send(address, b'{"message":"' + b"x" * MAX_LINE_BYTES + b'"}\n' + line("fine")) == b"\n"
    assert [record.message for record in node.sink.of("i1")] == ["fine"]
    await until(lambda: node.sink.of("i1", "orchestrator")[0].fields["too_long"] == 1 if node.sink.of("i1", "orchestrator") else False)


async def test_a_line_of_a_mebibyte_ends_the_connection_and_no_more(node: Node) -> None:
    address = node.open("i1")
    assert await send(address, b"x" * (1024 * 1024)) != b"\n"
    assert await send(address, line("fine")) == b"\n"
    assert [record.message for record in node.sink.of("i1")] == ["fine"]


async def test_a_flood_waits_in_the_sandbox_while_others_go_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_channels, "SANDBOX_BURST_BYTES", 100_000)
    flooded, quiet = node.open("i1"), node.open("i2")
    flood = [asyncio.ensure_future(send(flooded, line("x" * 50) * 400)) for _ in range(20)]
    began = time.monotonic()
    for number in range(10):
        assert await asyncio.wait_for(send(quiet, line(str(number))), 5) == b"\n"
    await asyncio.sleep(0.5)
    cost = log_channels.LINE_COST_BYTES + len(line("x" * 50))
    allowed = (100_000 + log_channels.SANDBOX_BYTES_PER_SECOND * (time.monotonic() - began)) / cost
    assert len(node.sink.of("i1")) <= allowed + 100
    for task in flood:
        task.cancel()
    await asyncio.wait(flood)


async def test_empty_lines_of_many_hold_up_nobody_elses(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all share is shared in small parts: 4 KiB of line ends, for which a sandbox pays a MiB, are not taken in one."""
    node.channels = LogChannels(node._listen, node.sink, node.tasks, Pace(200_000, 1))
    floods = [asyncio.ensure_future(send(node.open(f"i{number}"), b"\n" * 4096)) for number in range(5)]
    await asyncio.sleep(0.1)
    assert await asyncio.wait_for(send(node.open("quiet"), line("a")), 10) == b"\n"
    assert not any(flood.done() for flood in floods)
    for flood in floods:
        flood.cancel()
    await asyncio.wait(floods)


async def test_who_connects_and_says_nothing_holds_up_only_itself(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_channels, "CONNECTION_SECONDS", 0.2)
    silent, other = node.open("i1"), node.open("i2")
    _, writer = await asyncio.open_connection(*silent)
    assert await send(other, line("a")) == b"\n"
    assert await asyncio.wait_for(send(silent, line("later")), 5) == b"\n"
    writer.close()


async def test_a_peer_that_leaves_amid_a_line_leaves_nothing(node: Node) -> None:
    address = node.open("i1")
    with socket.create_connection(address) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        peer.sendall(line("whole") + b'{"message":"ha')
    assert await send(address, line("next")) == b"\n"
    assert "ha" not in [record.message for record in node.sink.records]


async def test_nothing_is_taken_of_a_closed_sandbox_and_its_port_is_free(node: Node) -> None:
    address = node.open("i1")
    _, writer = await asyncio.open_connection(*address)
    writer.write(b'{"message":"half')
    await asyncio.sleep(0.05)
    node.channels.close("i1")
    node.channels.close("i1")
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    assert node.sink.of("i1") == []
    writer.close()


async def test_a_port_that_is_taken_costs_logs_and_nothing_else(node: Node) -> None:
    def taken(sandbox_id: str, port: int) -> socket.socket:
        raise OSError(98, "Address already in use")

    channels = LogChannels(taken, node.sink, node.tasks)
    channels.open(RunningSandbox("i9", "e", "t", datetime.now(UTC), datetime.now(UTC), 1, 1, 1, None, None, False, b"damaged"))
    channels.close("i9")
