"""ClickHouse's HTTP interface over the embedded engine: enough of it for `clickhouse-connect`, where no server can be had."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lz4.frame


class _Handler(BaseHTTPRequestHandler):
    """One statement per request, in the query string or the body; what an INSERT writes follows it or is the body."""

    protocol_version = "HTTP/1.1"
    engine: Any
    turn: threading.Lock

    def log_message(self, *args: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._answer(200, b"Ok.\n")
        else:
            self._run(b"")

    def do_POST(self) -> None:
        self._run(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        coding = self.headers.get("Content-Encoding")
        if coding is None:
            return body
        if coding == "lz4":
            return bytes(lz4.frame.decompress(body))
        if coding == "gzip":
            return gzip.decompress(body)
        raise AssertionError(f"the body is coded as {coding}")

    def _run(self, body: bytes) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        parameters = {key.removeprefix("param_"): value for key, value in query.items() if key.startswith("param_")}
        statement = query["query"].encode() + b"\n" + body if "query" in query else body
        form = query.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        try:
            with self.turn:
                answer = self.engine.query(statement, form, params=parameters).bytes()
        except Exception as error:
            self._answer(400, str(error).encode())
            return
        self._answer(200, answer)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Summary", "{}")
        if status != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.end_headers()
        self.wfile.write(body)


def main(directory: str, port: str) -> None:
    """Serve until the standard input ends; the port is the first line out."""
    import chdb

    _Handler.engine = chdb.connect(directory)
    _Handler.turn = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@contextmanager
def clickhouse_over_http(directory: Path, port: int = 0) -> Iterator[str]:
    """The URL of a server that keeps its data in `directory`."""
    program = "import sys; from tests.product.clickhouse_http import main; main(*sys.argv[1:])"
    arguments = [sys.executable, "-c", program, str(directory), str(port)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/default"
    finally:
        process.kill()
        process.communicate()
