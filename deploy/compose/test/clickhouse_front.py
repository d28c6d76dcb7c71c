"""ClickHouse's HTTP interface over its embedded engine, for machines where no server can be had. For tests only.

`clickhouse_front.py DIRECTORY`: ports 8123 (HTTP; the first line out names it) and 9000 (accepts and closes: no native protocol).
User, password file and database are named by the variables of the official image. One question at a time.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import socketserver
import sys
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import chdb

_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(rb"\s*INSERT\s.*?\sFORMAT\s+\w+[ \t]*\n", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")


class Engine:
    """The engine, with the database that statements are about."""

    def __init__(self, directory: Path, database: str) -> None:
        self._connection = chdb.connect(str(directory))
        self._lock = threading.Lock()
        self._connection.query(f"CREATE DATABASE IF NOT EXISTS `{database}`")

    def ask(self, sql: str, default_format: str, database: str, parameters: dict[str, str]) -> bytes:
        """What a statement answers. `RuntimeError` has the engine's words."""
        found = _FORMAT.search(sql)
        text, shape = (sql[: found.start()], found.group(1)) if found else (sql, default_format)
        with self._lock:
            self._connection.query(f"USE `{database}`")
            return bytes(self._connection.query(text, shape, params=parameters).bytes())

    def insert(self, sql: str, data: bytes, database: str) -> None:
        """Rows in the format that `sql` ends with."""
        found = _FORMAT.search(sql)
        if found is None:
            raise RuntimeError("Code: 62. DB::Exception: an INSERT with data needs a FORMAT")
        with tempfile.NamedTemporaryFile() as file, self._lock:
            file.write(data)
            file.flush()
            self._connection.query(f"USE `{database}`")
            self._connection.query(f"{sql[: found.start()]} FROM INFILE '{file.name}' FORMAT {found.group(1)}")


class Handler(BaseHTTPRequestHandler):
    """Requests as ClickHouse's documentation describes them."""

    protocol_version = "HTTP/1.1"
    engine: Engine
    database: str
    user: str
    password: str

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping":
            self._answer(HTTPStatus.OK, b"Ok.\n")
        else:
            self._work(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self._chunks()
        self._work(_plain(body, self.headers.get("Content-Encoding", "")))

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _work(self, body: bytes) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        if not self._is_known(query):
            self._answer(HTTPStatus.FORBIDDEN, b"Code: 516. DB::Exception: Authentication failed", {"X-ClickHouse-Exception-Code": "516"})
            return
        sql, data = query.get("query", ""), body
        if not sql:
            found = _INSERT.match(body)
            sql, data = (body[: found.end()].decode(), body[found.end() :]) if found else (body.decode(), b"")
        database = query.get("database") or self.headers.get("X-ClickHouse-Database") or self.database
        shape = query.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        parameters = {name[6:]: value for name, value in query.items() if name.startswith("param_")}
        answer = b""
        try:
            if data:
                self.engine.insert(sql, data, database)
            else:
                answer = self.engine.ask(sql, shape, database, parameters)
        except RuntimeError as error:
            code = _CODE.search(str(error))
            headers = {"X-ClickHouse-Exception-Code": code.group(1) if code else "1000"}
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(), headers)
        else:
            self._answer(HTTPStatus.OK, answer, {"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": "{}"})

    def _is_known(self, query: dict[str, str]) -> bool:
        user = self.headers.get("X-ClickHouse-User") or query.get("user", "default")
        password = self.headers.get("X-ClickHouse-Key") or query.get("password", "")
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            user, _, password = base64.b64decode(given).decode().partition(":")
        return (user, password) == (self.user, self.password)

    def _answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Only errors are of interest."""


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    if encoding == "lz4":
        import lz4.frame

        return bytes(lz4.frame.decompress(body))
    return body


class _Closed(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """The native protocol is not spoken."""


def main(directory: Path) -> None:
    """Serve until killed."""
    Handler.user = os.environ.get("CLICKHOUSE_USER", "default")
    Handler.database = os.environ.get("CLICKHOUSE_DB", "default")
    file = os.environ.get("CLICKHOUSE_PASSWORD_FILE")
    Handler.password = Path(file).read_text() if file else os.environ.get("CLICKHOUSE_PASSWORD", "")
    Handler.engine = Engine(directory, Handler.database)
    native = socketserver.TCPServer(("", int(os.environ.get("FRONT_NATIVE_PORT", "9000"))), _Closed)
    threading.Thread(target=native.serve_forever, daemon=True).start()
    server = ThreadingHTTPServer(("", int(os.environ.get("FRONT_HTTP_PORT", "8123"))), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
