"""Programs that go on where they were when their sandbox comes back, as official clients see them (contract rest-api §8.6–§8.8)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest
import websockets
from e2b import CommandHandle, PtySize, Sandbox
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conformance.counterparts.packages import archive
from tests.conformance.python.conftest import SandboxMaker
from tests.product.instance import Instance, wait_until

_GUEST = Path(__file__).parents[1] / "guest"
_HEAP = """
import hashlib, os, sys
heap = [bytearray(os.urandom(10_000_000)) for _ in range(50)]
def digest(): return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in heap)).hexdigest()
right = digest()
print("ready", flush=True)
for line in sys.stdin:
    found = digest()
    assert found == right, "the heap is another"
    for part in heap:  # in every part, so that the next image has something new of each
        at = int.from_bytes(os.urandom(3), "little") % len(part)
        part[at : at + 4096] = os.urandom(len(part[at : at + 4096]))
    right = digest()
    print("right", line.strip(), len(heap) * len(heap[0]), flush=True)
"""
_NODE = """
const http = require('http')
let visits = 0, ticks = 0
setInterval(() => ticks++, 20)
const seen = new Set()
http.createServer((request, response) => {
  seen.add(request.socket)
  response.end(JSON.stringify({ visits: ++visits, ticks, pid: process.pid }))
}).listen(3000, () => console.log('listening'))
"""
_WRITER = """
import sqlite3, sys
database = sqlite3.connect("/home/user/rows.db", isolation_level=None)
database.execute("PRAGMA journal_mode=" + sys.argv[1])
database.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, text TEXT)")
number = 0
while True:
    number += 1
    database.execute("BEGIN")
    database.execute("INSERT INTO row VALUES (?, ?)", (number, "x" * (number % 3000)))
    database.execute("COMMIT")
    print(number, flush=True)
"""
_READ = """
import sqlite3
database = sqlite3.connect("/home/user/rows.db")
print(*database.execute("PRAGMA integrity_check").fetchone())
print(*database.execute("SELECT min(number), max(number), count(*) FROM row").fetchone())
"""


class Screen:
    """What a terminal shows while one reads along, from this handle or, after a resume, from another."""

    def __init__(self, sandbox: Sandbox, pid: int, handle: CommandHandle) -> None:
        self.sandbox, self.pid = sandbox, pid
        self.follow(handle)

    def follow(self, handle: CommandHandle) -> None:
        """Read what `handle` brings, from here on."""
        self.text = b""
        Thread(target=self._read, args=(handle,), daemon=True).start()

    def type(self, keys: bytes, until: bytes) -> None:
        """Send keys, and wait for what they make appear."""
        self.text = b""
        self.sandbox.pty.send_stdin(self.pid, keys)
        wait_until(lambda: until in self.text, f"{until!r} after {keys!r}; there is {self.text!r}", seconds=20)

    def _read(self, handle: CommandHandle) -> None:
        try:
            for _stdout, _stderr, pty in handle:
                self.text += pty or b""
        except Exception:  # its connection ends with the pause
            return


def _cycle(sandbox: Sandbox) -> None:
    assert sandbox.pause() is True
    Sandbox.connect(sandbox.sandbox_id, timeout=120)


def _next_line(handle: CommandHandle) -> str:
    text = ""
    for stdout, _stderr, _pty in handle:
        text += stdout or ""
        if text.endswith("\n"):
            break
    return text


def test_a_python_process_with_500_mb_of_data(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/heap.py", _HEAP)
    handle = sandbox.commands.run("exec python3 heap.py", background=True, stdin=True, timeout=0)
    assert _next_line(handle) == "ready\n"
    for number in range(2):
        _cycle(sandbox)
        again = sandbox.commands.connect(handle.pid)
        sandbox.commands.send_stdin(handle.pid, f"{number}\n")
        assert _next_line(again) == f"right {number} 500000000\n"
        again.disconnect()


def test_a_node_server_keeps_its_state_and_timers(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/server.js", _NODE)
    assert _next_line(sandbox.commands.run("exec node server.js", background=True, timeout=0)) == "listening\n"
    routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "3000"}
    answers = []
    with httpx.Client(base_url=server.sandbox_url, headers=routing, timeout=30, trust_env=False) as client:
        for _ in range(3):
            answers += [client.get("/").json(), client.get("/").json()]
            _cycle(sandbox)
        answers.append(client.get("/").json())
    assert [answer["visits"] for answer in answers] == [1, 2, 3, 4, 5, 6, 7]
    assert len({answer["pid"] for answer in answers}) == 1
    before = answers[-1]["ticks"]
    assert before >= answers[0]["ticks"]
    wait_until(lambda: httpx.get(server.sandbox_url, headers=routing, trust_env=False).json()["ticks"] > before, "its timer goes on")


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_sqlite_writer_loses_no_row(make_sandbox: SandboxMaker, journal: str) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/writer.py", _WRITER)
    sandbox.files.write("/home/user/read.py", _READ)
    writer = sandbox.commands.run(f"exec python3 writer.py {journal} > committed", background=True, timeout=0)

    def said() -> list[int]:
        return [int(line) for line in sandbox.files.read("committed").split("\n")[:-1]]

    wait_until(lambda: sandbox.files.exists("committed") and len(said()) > 0, "it writes")
    for _ in range(3):
        before = len(said())
        _cycle(sandbox)
        if journal == "wal":
            # Who else opens it finds it locked: SQLite takes a log that nobody has locked for abandoned, and cuts it off.
            assert sandbox.commands.run("python3 read.py").stdout.startswith("ok\n1 ")
        wait_until(lambda before=before: len(said()) > before + 10, "it goes on")  # type: ignore[misc]
    assert sandbox.commands.kill(writer.pid) is True
    wait_until(lambda: sandbox.commands.list() == [], "it is dead")
    integrity, rows = sandbox.commands.run("python3 read.py").stdout.splitlines()
    lowest, highest, count = map(int, rows.split())
    assert integrity == "ok"
    assert (lowest, count) == (1, highest)
    assert said() == list(range(1, len(said()) + 1))
    assert len(said()) <= count <= len(said()) + 1  # killed between a commit and its line


def test_an_editor_in_a_terminal_still_takes_keys(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80), cwd="/home/user")
    screen = Screen(sandbox, terminal.pid, terminal)
    screen.type(b"nano letter\n", b"New File")
    screen.type(b"written before", b"before")
    for number in range(2):
        _cycle(sandbox)
        screen.follow(sandbox.pty.connect(terminal.pid))
        screen.type(f" and after {number}".encode(), str(number).encode())
    sandbox.pty.resize(terminal.pid, PtySize(rows=30, cols=100))
    screen.type(b"\x0f", b"Write")  # ^O
    screen.type(b"\r", b"Wrote 1 line")
    screen.type(b"\x18", b"$ ")  # ^X
    assert sandbox.files.read("/home/user/letter") == "written before and after 0 and after 1\n"
    screen.type(b"stty size; exit\n", b"30 100")


def test_a_full_screen_program_goes_on_drawing(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80))
    screen = Screen(sandbox, terminal.pid, terminal)
    screen.type(b"top -d 0.3\n", b"PID")
    for _ in range(2):
        _cycle(sandbox)
        screen.follow(sandbox.pty.connect(terminal.pid))
        wait_until(lambda: b"load average" in screen.text, "it draws by itself", seconds=20)
        screen.type(b"h", b"Help for Interactive Commands")
        screen.type(b"\x1b", b"load average")
    screen.type(b"q", b"$ ")
    screen.type(b"echo ended-$?\n", b"ended-0")


def test_jobs_of_an_interactive_shell_are_still_its_own(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    terminal = sandbox.pty.create(PtySize(rows=24, cols=200))
    screen = Screen(sandbox, terminal.pid, terminal)
    screen.type(b"(while read line; do echo heard-$line; done)\n", b"\n")
    screen.type(b"first\n", b"heard-first")
    screen.type(b"\x1a", b"Stopped")
    screen.type(b"sleep 1000 &\n", b"[2]")
    for number in range(2):
        _cycle(sandbox)
        screen.follow(sandbox.pty.connect(terminal.pid))
        screen.type(b"jobs; echo that-was''-all\n", b"that-was-all")
        assert b"Stopped" in screen.text
        assert b"Running" in screen.text
        screen.type(b"fg 1\n", b"while")
        screen.type(f"line{number}\n".encode(), f"heard-line{number}".encode())
        screen.type(b"\x1a", b"Stopped")
    screen.type(b"kill %2; wait %2; echo code-$?\n", b"code-143")


def test_an_old_handle_ends_with_the_pause_and_the_command_can_be_taken_up_again(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    sandbox.commands.run("echo one > log")
    handle = sandbox.commands.run("exec tail -f log", background=True, timeout=0)
    assert _next_line(handle) == "one\n"
    ended: list[str] = []

    def read_on() -> None:
        try:
            handle.wait()
        except Exception as error:
            ended.append(repr(error))

    reader = Thread(target=read_on, daemon=True)
    reader.start()
    _cycle(sandbox)
    reader.join(20)
    assert not reader.is_alive(), "whoever read it when it was paused waits for ever"
    assert len(ended) == 1, "a command that goes on was reported as ended"
    again = sandbox.commands.connect(handle.pid)
    sandbox.commands.run("echo two >> log")
    assert _next_line(again) == "two\n"
    assert sandbox.commands.kill(handle.pid) is True


@contextmanager
def _dial(sandbox: Sandbox, server: Instance, path: str = "/echo") -> Iterator[ClientConnection]:
    routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8080"}
    address = server.sandbox_url.replace("http", "ws") + path
    with connect(address, additional_headers=routing, proxy=None, ping_interval=None, open_timeout=30) as client:
        yield client


def test_a_websocket_server_goes_on_and_its_old_clients_are_cut(make_sandbox: SandboxMaker, server: Instance) -> None:
    sandbox = make_sandbox()
    sandbox.files.write("/home/user/packages.tar", archive(websockets))
    sandbox.files.write("/home/user/server.py", (_GUEST / "websocket_server.py").read_text())
    sandbox.commands.run("tar xf packages.tar")
    said = sandbox.commands.run("exec python3 server.py 8080", background=True, timeout=0)
    routing = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8080"}
    wait_until(lambda: httpx.get(server.sandbox_url, headers=routing, trust_env=False).status_code == 426, "the server listens")
    for number in range(1, 3):
        with _dial(sandbox, server) as client:
            client.send("before")
            assert client.recv(timeout=20) == "before"
            started = time.monotonic()
            assert sandbox.pause() is True
            with pytest.raises(ConnectionClosed) as cut:
                client.recv(timeout=20)
            assert time.monotonic() - started < 20
            assert cut.value.rcvd is None, "a close frame that the sandbox never sent"
        Sandbox.connect(sandbox.sandbox_id, timeout=120)
        with _dial(sandbox, server) as client:
            client.send("after")
            assert client.recv(timeout=20) == "after"

        # What was connected when it was paused is over inside, too: the server does not keep it for ever.
        def closed_abnormally() -> int:
            with _dial(sandbox, server, "/seen") as asking:
                return str(asking.recv(timeout=20)).count("1006")

        wait_until(lambda number=number: closed_abnormally() == number, "the server saw its client go", seconds=20)  # type: ignore[misc]
    assert said.pid in {process.pid for process in sandbox.commands.list()}
