"""A Loki of our own: push and query_range as its HTTP API documents them, strict about what it is sent.

Written from https://grafana.com/docs/loki/latest/reference/loki-http-api/ and the LogQL manual: stream selectors with `=`, `!=`, `=~`
and `!~`, the `json` parser and label filters, which is what this product asks. What a real one would refuse is refused with 400.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TIMESTAMP = re.compile(r"[0-9]{19}")
_MAX_ENTRIES = 5000  # max_entries_limit_per_query
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)|(?P<operator>=~|!~|!=|=|[{},|]))""", re.DOTALL
)
_GO_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"'}


class RefusedError(Exception):
    """What a Loki answers with 400."""


@dataclass
class Loki:
    """What was pushed, and how to behave: `failures` are statuses to answer next, one request each."""

    port: int = 0
    user: str | None = None
    password: str = ""
    entries: list[tuple[dict[str, str], int, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    pushes: int = 0
    queries: list[str] = field(default_factory=list)
    connections: set[socket.socket] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lines(self, **labels: str) -> list[dict[str, Any]]:
        """The lines whose labels have these values, oldest first."""
        with self.lock:
            found = [(ns, line) for stream, ns, line in self.entries if labels.items() <= stream.items()]
        return [json.loads(line) for _, line in sorted(found, key=lambda entry: entry[0])]

    def push(self, document: Any) -> None:
        streams = document["streams"]
        accepted = []
        for stream in streams:
            if set(stream) != {"stream", "values"}:
                raise RefusedError(f"unexpected keys of a stream: {sorted(stream)}")
            labels = stream["stream"]
            if not labels or not all(_LABEL.fullmatch(name) and isinstance(value, str) for name, value in labels.items()):
                raise RefusedError(f"error parsing labels {labels}")
            stamps = []
            for stamp, line in stream["values"]:
                if not isinstance(stamp, str) or not _TIMESTAMP.fullmatch(stamp) or not isinstance(line, str):
                    raise RefusedError(f"not a timestamp and a line: {stamp!r}")
                stamps.append(int(stamp))
                accepted.append((dict(labels), int(stamp), line))
            if stamps != sorted(stamps):
                raise RefusedError("entry out of order within one push")
        sets = [json.dumps(stream["stream"], sort_keys=True) for stream in streams]
        if len(sets) != len(set(sets)):
            raise RefusedError("the same stream twice in one push")
        with self.lock:
            self.entries += accepted

    def query(self, parameters: dict[str, str]) -> dict[str, Any]:
        text, limit = parameters["query"], int(parameters.get("limit", "100"))
        with self.lock:
            self.queries.append(text)
            entries = list(self.entries)
        if not 0 < limit <= _MAX_ENTRIES:
            raise RefusedError("max entries limit per query exceeded")
        start, end = int(parameters["start"]), int(parameters["end"])
        if end <= start:
            raise RefusedError("end timestamp must not be before or equal to start time")
        matchers, filters = parse(text)
        backward = parameters.get("direction", "backward") == "backward"
        found = []
        for labels, stamp, line in sorted(entries, key=lambda entry: entry[1], reverse=backward):
            if start <= stamp < end and all(_matches(labels, matcher) for matcher in matchers):
                shown = dict(labels)
                if filters is not None:
                    shown |= _parsed(labels, line)
                    if not all(_matches(shown, matcher) for matcher in filters):
                        continue
                found.append((shown, stamp, line))
        streams: dict[str, dict[str, Any]] = {}
        for shown, stamp, line in found[:limit]:
            key = json.dumps(shown, sort_keys=True)
            streams.setdefault(key, {"stream": shown, "values": []})["values"].append([str(stamp), line])
        return {"status": "success", "data": {"resultType": "streams", "result": list(streams.values()), "stats": {}}}


Matcher = tuple[str, str, str]


def parse(query: str) -> tuple[list[Matcher], list[Matcher] | None]:
    """The selector's matchers, and the label filters after `| json`; None without that stage. `RefusedError` for anything else."""
    tokens = list(_tokens(query))
    matchers, position = _selector(tokens)
    filters: list[Matcher] | None = None
    while position < len(tokens):
        if tokens[position] != ("operator", "|"):
            raise RefusedError(f"parse error: unexpected {tokens[position]}")
        kind, value = tokens[position + 1]
        if (kind, value) == ("name", "json") and tokens[position + 2 : position + 3] in ([], [("operator", "|")]):
            filters, position = [], position + 2
        elif filters is None:
            raise RefusedError("a filter of labels that nothing extracted")
        else:
            filters.append(_matcher(tokens, position + 1))
            position += 4
    return matchers, filters


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    position = 0
    while query[position:].strip():
        match = _TOKEN.match(query, position)
        if match is None:
            raise RefusedError(f"parse error at {query[position : position + 20]!r}")
        kind = match.lastgroup
        assert kind is not None
        yield kind, _unquoted(match[kind]) if kind == "string" else match[kind]
        position = match.end()


def _selector(tokens: list[tuple[str, str]]) -> tuple[list[Matcher], int]:
    if tokens[:1] != [("operator", "{")]:
        raise RefusedError("parse error: a query begins with a selector")
    matchers, position = [], 1
    while True:
        matchers.append(_matcher(tokens, position))
        separator = tokens[position + 3] if len(tokens) > position + 3 else None
        position += 4
        if separator == ("operator", "}"):
            break
        if separator != ("operator", ","):
            raise RefusedError("parse error in the selector")
    if all(operator in ("!=", "!~") for _, operator, _ in matchers):
        raise RefusedError("queries require at least one regexp or equality matcher that does not have an empty-compatible value")
    return matchers, position


def _matcher(tokens: list[tuple[str, str]], position: int) -> Matcher:
    kinds = [kind for kind, _ in tokens[position : position + 3]]
    if kinds != ["name", "operator", "string"] or tokens[position + 1][1] not in ("=", "!=", "=~", "!~"):
        raise RefusedError("parse error: not a matcher")
    name, operator, value = (value for _, value in tokens[position : position + 3])
    return name, operator, value


def _unquoted(text: str) -> str:
    """As Go's strconv.Unquote; RE2 and Go know no other escapes."""
    if text[0] == "`":
        return text[1:-1]

    def replaced(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] in "xuU" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape not in _GO_ESCAPES:
            raise RefusedError(f"invalid escape \\{escape}")
        return _GO_ESCAPES[escape]

    return re.sub(r"\\(U[0-9a-fA-F]{8}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", replaced, text[1:-1], flags=re.DOTALL)


def _matches(labels: dict[str, str], matcher: Matcher) -> bool:
    name, operator, value = matcher
    found = labels.get(name, "")
    if operator in ("=", "!="):
        return (found == value) is (operator == "=")
    try:
        return (re.fullmatch(value, found) is not None) is (operator == "=~")
    except re.error as error:
        raise RefusedError(f"error parsing regexp: {error}") from error


def _parsed(labels: dict[str, str], line: str) -> dict[str, str]:
    try:
        values = json.loads(line)
    except ValueError:
        return {"__error__": "JSONParserErr"}
    found = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, str | int | float) or value is None:
            key = re.sub(r"[^a-zA-Z0-9_]", "_", name)
            text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            found[f"{key}_extracted" if key in labels else key] = text
    return found


def _handler(loki: Loki) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            loki.connections.add(self.request)
            super().setup()

        def finish(self) -> None:
            super().finish()
            loki.connections.discard(self.request)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self._is_failing():
                return
            try:
                if urlsplit(self.path).path != "/loki/api/v1/push" or self.headers.get("Content-Type") != "application/json":
                    raise RefusedError(f"not a JSON push: {self.path} {self.headers.get('Content-Type')}")
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                loki.push(json.loads(body))
                loki.pushes += 1
                self._answer(204, b"")
            except (RefusedError, ValueError, KeyError, TypeError) as error:
                self._refuse(error)

        def do_GET(self) -> None:
            if self._is_failing():
                return
            target = urlsplit(self.path)
            try:
                if target.path != "/loki/api/v1/query_range":
                    raise RefusedError(f"no such query: {target.path}")
                values = parse_qs(target.query, keep_blank_values=True, strict_parsing=True, errors="strict")
                answer = loki.query({name: value[0] for name, value in values.items()})
                self._answer(200, json.dumps(answer).encode(), "application/json")
            except (RefusedError, ValueError, KeyError) as error:
                self._refuse(error)

        def _is_failing(self) -> bool:
            expected = "Basic " + base64.b64encode(f"{loki.user}:{loki.password}".encode()).decode()
            if loki.user is not None and self.headers.get("Authorization") != expected:
                self._answer(401, b"no credentials")
                return True
            with loki.lock:
                status = loki.failures.pop(0) if loki.failures else 0
            if status:
                self._answer(status, b"as told to")
            return bool(status)

        def _refuse(self, error: Exception) -> None:
            loki.refused.append(f"{type(error).__name__}: {error}")
            self._answer(400, str(error).encode())

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def running_loki(port: int = 0, *, user: str | None = None, password: str = "") -> Iterator[Loki]:
    """A Loki on loopback for as long as the block lasts."""
    loki = Loki(user=user, password=password)
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(loki))
    server.daemon_threads = False
    loki.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="loki")
    thread.start()
    try:
        yield loki
    finally:
        server.shutdown()
        for connection in list(loki.connections):  # kept alive by clients: a server that is down has none
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()
