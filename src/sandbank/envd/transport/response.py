"""One answer: whole, of known length, or open-ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from sandbank.envd.transport.request import Request

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus} | {499: b"Client Closed Request"}
_BODILESS = frozenset({204, 304})
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as HTTP writes a date; no locale and no time zone file is consulted."""
    t = time.gmtime(int(seconds))
    return f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"


class Wire(Protocol):
    """What an answer needs of its connection."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    async def send_file(self, descriptor: int, offset: int, length: int) -> int: ...


class Response:
    """The answer to one request; `started` and `finished` tell the connection what became of it.

    `headers` may be filled before the start by whoever wraps handlers (CORS, version).
    """

    def __init__(self, wire: Wire, request: Request) -> None:
        self._wire = wire
        self._body = request.body
        self._head_only = request.method == "HEAD"
        self._http_1_0 = request.http_version == "1.0"
        self._chunked = False
        self._remaining: int | None = None
        self.keep_alive = request.keep_alive
        self.headers: dict[str, str] = {}
        self.status = 0
        self.started = False
        self.finished = False

    def start(self, status: int, headers: Mapping[str, str], *, length: int | None = None) -> None:
        """Send the head. Without `length` the body is chunked, or ends with the connection for an HTTP/1.0 peer."""
        merged = {**self.headers, **headers}
        if status in _BODILESS:
            self._remaining = 0
        elif length is not None:
            self._remaining = length
            merged["Content-Length"] = str(length)
        elif self._http_1_0:
            self.keep_alive = False
        else:
            self._chunked = True
            merged["Transfer-Encoding"] = "chunked"
        if not self._body.complete:
            self.keep_alive = False  # an early answer: what follows of the body is not worth waiting for
        if not self.keep_alive:
            merged["Connection"] = "close"
        elif self._http_1_0:
            merged["Connection"] = "keep-alive"
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS.get(status, b"Unknown")), b"Date: " + http_date(time.time()).encode()]
        lines.extend(f"{name}: {value}".encode("utf-8", "surrogateescape").translate(None, b"\r\n") for name, value in merged.items())
        self.status = status
        self.started = True
        self._wire.write(b"\r\n".join(lines) + b"\r\n\r\n")

    async def write(self, data: bytes) -> None:
        """Send a piece of the body and wait while the peer is slow; nothing is sent for an empty piece, which would end a chunked body."""
        if not data or self._head_only:
            return
        if self._chunked:
            self._wire.write(b"%x\r\n" % len(data))
            self._wire.write(data)
            self._wire.write(b"\r\n")
        else:
            self._account(len(data))
            self._wire.write(data)
        await self._wire.drain()

    async def send_file(self, descriptor: int, offset: int, length: int) -> None:
        """A part of a file as the body of known length; a file that became shorter meanwhile leaves the body unfinished."""
        self._account(await self._wire.send_file(descriptor, offset, length))

    def _account(self, size: int) -> None:
        if self._remaining is not None:
            self._remaining -= size
            if self._remaining < 0:
                raise RuntimeError("a handler sent more than it announced")

    async def finish(self) -> None:
        """End the body; a body shorter than announced stays unfinished, and the connection is cut."""
        if self._remaining and not self._head_only:
            return
        if self._chunked and not self._head_only:
            self._wire.write(b"0\r\n\r\n")
        self.finished = True
        await self._wire.drain()

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Head and body in one."""
        self.start(status, headers, length=None if status in _BODILESS else len(body))
        if status not in _BODILESS:
            await self.write(body)
        await self.finish()

    async def send_json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """`value` as JSON."""
        body = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
        await self.send(status, {"Content-Type": "application/json", **(headers or {})}, body)

    async def send_error(self, status: int, message: str) -> None:
        """The error body of the REST part (data-plane contract §4.1)."""
        body = json.dumps({"code": status, "message": message}, separators=(",", ":")).encode() + b"\n"
        await self.send(status, {"Content-Type": "application/json; charset=utf-8", "X-Content-Type-Options": "nosniff"}, body)
