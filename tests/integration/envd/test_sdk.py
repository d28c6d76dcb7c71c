"""The official Python SDK against a bare agent; a stub stands for the API, which only names the sandbox."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    FilesystemEventType,
    FileType,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    TimeoutException,
)

from sandbank.version import ENVD_VERSION
from tests.integration.envd.driving import Agent


class StubApi(BaseHTTPRequestHandler):
    """Answers every create with the same sandbox."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"templateID": "base", "sandboxID": "itestsandbox", "clientID": "x", "envdVersion": ENVD_VERSION}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def options(agent: Agent) -> Iterator[dict[str, Any]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StubApi)
    thread = threading.Thread(target=server.serve_forever, name="stub-api")
    thread.start()
    try:
        yield {"api_key": "e2b_" + "0" * 40, "api_url": f"http://127.0.0.1:{server.server_port}", "sandbox_url": agent.url}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def sandbox(options: dict[str, Any]) -> Sandbox:
    return Sandbox.create(**options)


class TestCommands:
    def test_output_and_exit_codes(self, sandbox: Sandbox) -> None:
        result = sandbox.commands.run("echo 'Hello, World!'; echo oops >&2")
        assert (result.stdout, result.stderr, result.exit_code) == ("Hello, World!\n", "oops\n", 0)
        with pytest.raises(CommandExitException) as failure:
            sandbox.commands.run("exit 3")
        assert failure.value.exit_code == 3

    def test_a_split_character_is_left_to_the_client(self, sandbox: Sandbox) -> None:
        result = sandbox.commands.run("python3 -c \"import sys; sys.stdout.buffer.write(b'a'*8191 + bytes([0xe2]))\"")
        assert result.stdout == "a" * 8191 + "\ufffd"

    def test_environment_user_and_directory(self, sandbox: Sandbox) -> None:
        assert sandbox.commands.run("echo $FOO $BAR", envs={"BAR": "own"}).stdout == "bar own\n"
        assert sandbox.commands.run("echo $E2B_SANDBOX $E2B_SANDBOX_ID").stdout == "true itestsandbox\n"
        assert sandbox.commands.run("id -un; pwd", user="nobody", cwd="/usr").stdout == "nobody\n/usr\n"
        with pytest.raises(InvalidArgumentException):
            sandbox.commands.run("true", cwd="/does/not/exist")

    def test_callbacks_see_output_while_it_runs(self, sandbox: Sandbox) -> None:
        seen: list[str] = []
        sandbox.commands.run("echo one; sleep 0.2; echo two", on_stdout=seen.append)
        assert "".join(seen) == "one\ntwo\n"
        assert len(seen) == 2

    def test_timeout_kills(self, sandbox: Sandbox) -> None:
        with pytest.raises(TimeoutException):
            sandbox.commands.run("sleep 31.5", timeout=0.3)
        with pytest.raises(CommandExitException):
            sandbox.commands.run("pgrep -f 'sleep 31[.]5'")

    def test_background_list_connect_kill(self, sandbox: Sandbox) -> None:
        handle = sandbox.commands.run("sleep 60", background=True)
        assert handle.pid in [process.pid for process in sandbox.commands.list()]
        assert sandbox.commands.connect(handle.pid).pid == handle.pid
        assert sandbox.commands.kill(handle.pid) is True
        with pytest.raises(CommandExitException):
            sandbox.commands.run(f"kill -0 {handle.pid}")
        with pytest.raises(CommandExitException) as failure:
            handle.wait()
        assert (failure.value.exit_code, failure.value.error) == (-1, "signal: killed")
        assert sandbox.commands.kill(999999) is False
        with pytest.raises(NotFoundException):
            sandbox.commands.connect(999999)

    def test_a_disconnected_command_goes_on(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = sandbox.commands.run(f"sleep 0.3; echo done > {tmp_path}/flag", background=True)
        handle.disconnect()
        while not (tmp_path / "flag").exists():
            time.sleep(0.02)

    @pytest.mark.parametrize("text", ["hello", "", "ünï\nlines\n!@#$%^&*()"])
    def test_stdin(self, sandbox: Sandbox, text: str) -> None:
        handle = sandbox.commands.run("cat", background=True, stdin=True)
        sandbox.commands.send_stdin(handle.pid, text)
        sandbox.commands.close_stdin(handle.pid)
        assert handle.wait().stdout == text

    def test_streamed_stdin(self, sandbox: Sandbox) -> None:
        handle = sandbox.commands.run("cat", background=True, stdin=True)
        sandbox.commands.stream_input(handle.pid, iter(["one ", "two"]))
        sandbox.commands.close_stdin(handle.pid)
        assert handle.wait().stdout == "one two"


class TestPty:
    def test_shell(self, sandbox: Sandbox) -> None:
        handle = sandbox.pty.create(PtySize(rows=24, cols=80), envs={"ABC": "123"})
        sandbox.pty.resize(handle.pid, PtySize(rows=30, cols=100))
        sandbox.pty.send_stdin(handle.pid, b"echo value=$ABC; stty size; exit\n")
        seen: list[bytes] = []
        result = handle.wait(on_pty=seen.append)
        assert result.exit_code == 0
        assert b"value=123" in b"".join(seen)
        assert b"30 100" in b"".join(seen)

    def test_kill(self, sandbox: Sandbox) -> None:
        handle = sandbox.pty.create(PtySize(rows=24, cols=80))
        assert sandbox.pty.kill(handle.pid) is True
        assert sandbox.pty.kill(999999) is False


class TestFiles:
    def test_write_and_read(self, sandbox: Sandbox, tmp_path: Path) -> None:
        path = f"{tmp_path}/deep/down/a.txt"
        info = sandbox.files.write(path, "héllo")
        assert (info.name, info.path, info.type) == ("a.txt", path, FileType.FILE)
        assert sandbox.files.read(path) == "héllo"
        assert bytes(sandbox.files.read(path, format="bytes")) == "héllo".encode()
        assert b"".join(sandbox.files.read(path, format="stream")) == "héllo".encode()
        assert sandbox.files.read(path, gzip=True) == "héllo"
        with pytest.raises(NotFoundException):
            sandbox.files.read(f"{tmp_path}/missing")

    def test_empty_and_many(self, sandbox: Sandbox, tmp_path: Path) -> None:
        sandbox.files.write(f"{tmp_path}/empty", "")
        assert sandbox.files.read(f"{tmp_path}/empty") == ""
        written = sandbox.files.write_files([{"path": f"{tmp_path}/{number}/f", "data": str(number)} for number in range(10)])
        assert [entry.path for entry in written] == [f"{tmp_path}/{number}/f" for number in range(10)]
        assert sandbox.files.write_files([]) == []

    def test_streamed_and_compressed_uploads(self, sandbox: Sandbox, tmp_path: Path) -> None:
        sandbox.files.write(f"{tmp_path}/streamed", iter([b"ab" * 50_000, b"cd"]))
        assert (tmp_path / "streamed").read_bytes() == b"ab" * 50_000 + b"cd"
        sandbox.files.write(f"{tmp_path}/zipped", b"x" * 300_000, gzip=True)
        assert (tmp_path / "zipped").read_bytes() == b"x" * 300_000

    def test_metadata(self, sandbox: Sandbox, tmp_path: Path) -> None:
        path = f"{tmp_path}/m"
        assert sandbox.files.write(path, "x", metadata={"author": "mish"}).metadata == {"author": "mish"}
        assert sandbox.files.get_info(path).metadata == {"author": "mish"}
        assert sandbox.files.rename(path, f"{path}2").metadata == {"author": "mish"}
        assert not sandbox.files.write(f"{path}2", "x").metadata

    def test_info_and_listing(self, sandbox: Sandbox, tmp_path: Path) -> None:
        for name in ("subdir1/subdir1_1/f", "subdir1/subdir1_2/f", "subdir2/subdir2_1/f", "file1.txt"):
            sandbox.files.write(f"{tmp_path}/{name}", "text")
        sandbox.commands.run(f"ln -s file1.txt {tmp_path}/link")
        assert [e.name for e in sandbox.files.list(str(tmp_path))] == ["file1.txt", "link", "subdir1", "subdir2"]
        names = ["file1.txt", "link", "subdir1", "subdir1_1", "subdir1_2", "subdir2", "subdir2_1"]
        assert [e.name for e in sandbox.files.list(str(tmp_path), depth=2)] == names
        info = sandbox.files.get_info(f"{tmp_path}/file1.txt")
        assert (info.size, info.mode, info.permissions, info.owner, info.group) == (4, 0o644, "-rw-r--r--", "root", "root")
        assert sandbox.files.get_info(f"{tmp_path}/link").symlink_target == f"{tmp_path}/file1.txt"
        assert sandbox.files.get_info(f"{tmp_path}/subdir1").permissions == "drwxr-xr-x"

    def test_make_exists_rename_remove(self, sandbox: Sandbox, tmp_path: Path) -> None:
        path = f"{tmp_path}/d/e"
        assert sandbox.files.make_dir(path) is True
        assert sandbox.files.make_dir(path) is False
        assert sandbox.files.rename(path, f"{tmp_path}/f").path == f"{tmp_path}/f"
        assert sandbox.files.exists(path) is False
        sandbox.files.remove(f"{tmp_path}/f")
        sandbox.files.remove(f"{tmp_path}/f")
        with pytest.raises(NotFoundException):
            sandbox.files.rename(path, f"{tmp_path}/g")

    def test_polled_watch(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = sandbox.files.watch_dir(str(tmp_path), recursive=True, include_entry=True)
        sandbox.files.write(f"{tmp_path}/nested/file", "x")
        events = handle.get_new_events()
        while not any(event.name == "nested/file" and event.type == FilesystemEventType.WRITE for event in events):
            events += handle.get_new_events()
            time.sleep(0.02)
        assert (events[0].type, events[0].name) == (FilesystemEventType.CREATE, "nested")
        assert events[0].entry is not None
        handle.stop()
        with pytest.raises(NotFoundException):
            sandbox.files.watch_dir(f"{tmp_path}/missing")


def test_is_running(sandbox: Sandbox) -> None:
    assert sandbox.is_running() is True


async def test_async_client(options: dict[str, Any], tmp_path: Path) -> None:
    sandbox = await AsyncSandbox.create(**options)
    assert (await sandbox.commands.run("echo hi")).stdout == "hi\n"
    seen: asyncio.Queue[Any] = asyncio.Queue()
    handle = await sandbox.files.watch_dir(str(tmp_path), on_event=seen.put_nowait)
    await sandbox.files.write(f"{tmp_path}/a", "x")
    event = await seen.get()
    assert (event.type, event.name) == (FilesystemEventType.CREATE, "a")
    await handle.stop()  # type: ignore[no-untyped-call]  # the SDK leaves it out
