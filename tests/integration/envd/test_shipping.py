"""Lines on their way out of the agent (data-plane contract §5.3): kept until they are acknowledged, sent again, without a thread."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading

import pytest
import uvloop

from sandbank.aiokit.tasks import TaskGroup
from sandbank.envd import shipping
from sandbank.envd.journal import Journal
from sandbank.envd.shipping import Shipping


class Node:
    """Takes one batch after another; does not acknowledge the first `refusals`."""

    def __init__(self, refusals: int = 0, port: int = 0) -> None:
        self.refusals = refusals
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.batches: list[list[str]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                data = b""
                while piece := peer.recv(65536):
                    data += piece
                if data == b"stop":
                    return
                self.batches.append([json.loads(line)["message"] for line in data.splitlines()])
                if self.refusals:
                    self.refusals -= 1
                else:
                    peer.sendall(b"\n")

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop")
        self._thread.join()
        self.listener.close()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(shipping, "_FIRST_PAUSE_SECONDS", 0.02)


def run(port: int, *messages: str, then: str | None = None) -> int:
    """Ships under the agent's own loop; returns how many threads that took."""

    async def ship() -> int:
        journal = Journal()
        tasks = TaskGroup("test", lambda task, error: None)
        journal.open(Shipping(journal, tasks, port).wake)
        for message in messages:
            journal.write("info", "test", message)
        async with asyncio.timeout(10):
            while not journal.is_empty:
                await asyncio.sleep(0.01)
        if then is not None:
            journal.write("info", "test", then)
            async with asyncio.timeout(10):
                while not journal.is_empty:
                    await asyncio.sleep(0.01)
        await tasks.close()
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(ship())


def test_lines_of_a_moment_go_together_and_later_ones_by_themselves() -> None:
    node = Node()
    run(node.port, "a", "b", then="c")
    node.close()
    assert node.batches == [["a", "b"], ["c"]]


def test_what_is_not_acknowledged_is_sent_again() -> None:
    node = Node(refusals=2)
    run(node.port, "a")
    node.close()
    assert node.batches == [["a"], ["a"], ["a"]]


def test_lines_wait_for_a_node_that_is_not_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nodes: list[Node] = []
    late = threading.Timer(0.2, lambda: nodes.append(Node(port=port)))
    late.start()
    run(port, "a")
    late.join()
    nodes[0].close()
    assert nodes[0].batches == [["a"]]


def test_no_thread_is_started_for_it() -> None:
    """A loop that resolves names does that in four threads, which stay: too much for an idle sandbox."""
    node = Node()
    program = f"from tests.integration.envd.test_shipping import run; print(run({node.port}, 'a'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    node.close()
    assert (done.stdout, node.batches) == ("1\n", [["a"]]), done.stderr
