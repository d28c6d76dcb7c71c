"""A server over HTTP that is slow, dead, refuses, or is no ClickHouse at all: one kind of error, in bounded time and memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandbank.clickhouse import backends
from sandbank.clickhouse.backends import EngineBackend
from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import UnavailableError
from tests.product.clickhouse_http import clickhouse_over_http


@contextmanager
def answering(answer: Callable[[Any], None]) -> Iterator[str]:
    """The URL of a server that answers every request like that."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)

        def do_GET(self) -> None:
            answer(self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://user:secret@127.0.0.1:{server.server_address[1]}/default"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(status: int, body: bytes, **headers: str) -> Callable[[Any], None]:
    def answer(request: Any) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def cut_off(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"\x01\x01\x04")
    request.close_connection = True


def silent(request: Any) -> None:
    request.close_connection = True


STRANGE = {
    "a page": whole(200, b"<html><body>It works!</body></html>"),
    "nothing": whole(200, b""),
    "an error page": whole(502, b"<html>Bad Gateway</html>"),
    "no such page": whole(404, b""),
    "a full disk": whole(
        500, b"Code: 243. DB::Exception: Cannot reserve 1.00 MiB (NOT_ENOUGH_SPACE)\nmore\n", X_ClickHouse_Exception_Code="243"
    ),
    "elsewhere": whole(302, b"", Location="http://127.0.0.1:9/"),
    "bytes": whole(200, bytes(range(256)) * 8),
    "half an answer": cut_off,
    "silence": silent,
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE.keys())
async def test_whatever_answers_there_the_error_is_one_line_without_the_password(answer: Callable[[Any], None]) -> None:
    with answering(answer) as url:
        client = ClickHouse.connect(url)
        batcher = Batcher(client, "t", ("n",))
        batcher.add((1,))
        for _ in range(2):
            for question in (client.query("SELECT 1"), client.command("SELECT 1"), batcher.flush()):
                with pytest.raises(UnavailableError) as raised:
                    await question
                assert "secret" not in raised.value.message
                assert "\n" not in raised.value.message
        assert len(batcher) == 1
        await client.close()


async def test_a_server_that_says_nothing_is_given_up_and_so_is_the_crowd_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_SECONDS", 0.3)
    monkeypatch.setattr(backends, "_MAX_WAITING", 8)
    over = threading.Event()

    def wait(request: object) -> None:
        over.wait()

    with answering(wait) as url:
        client = ClickHouse.connect(url)
        errors = await asyncio.gather(*(client.query("SELECT 1") for _ in range(50)), return_exceptions=True)
        over.set()
        assert all(isinstance(error, UnavailableError) for error in errors)
        assert sum("busy" in str(error) for error in errors) == 42
        await client.close()


async def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with clickhouse_over_http(tmp_path / "clickhouse") as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        client = ClickHouse.connect(url)
        await client.command("CREATE TABLE numbers_kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    batcher = Batcher(client, "numbers_kept", ["n"])
    batcher.add((1,))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await batcher.flush()
    with clickhouse_over_http(tmp_path / "clickhouse", port):
        await batcher.flush()
        assert await client.query("SELECT n FROM numbers_kept") == [(1,)]
    await client.close()


async def test_too_many_questions_to_the_engine_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_MAX_WAITING", 4)
    client = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    answers = await asyncio.gather(*(client.query("SELECT 1") for _ in range(10)), return_exceptions=True)
    assert sum(answer == [(1,)] for answer in answers) == 4
    assert sum(isinstance(answer, UnavailableError) and "busy" in answer.message for answer in answers) == 6
    assert await client.query("SELECT 1") == [(1,)]
    await client.close()


async def test_an_engine_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    await client.start()
    assert isinstance(client.backend, EngineBackend)
    pid = client.backend.pid
    monkeypatch.setattr(backends, "_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match="did not answer within"):
        await client.query("SELECT sleep(3)")
    monkeypatch.setattr(backends, "_SECONDS", 20)
    client.backend._not_before = 0.0
    assert await client.query("SELECT 1") == [(1,)]
    assert client.backend.pid != pid
    await client.close()
