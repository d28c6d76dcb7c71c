"""What the image store's application reads and writes of HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import parse_qs

from sandbank.domain.errors import (
    ConflictError,
    DeniedError,
    ExhaustedError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnauthenticatedError,
)

Header = tuple[bytes, bytes]

_STATUSES: tuple[tuple[type[SandbankError], int], ...] = (
    (InvalidError, 400),
    (UnauthenticatedError, 401),
    (DeniedError, 403),
    (NotFoundError, 404),
    (ConflictError, 416),
    (ExhaustedError, 413),
)
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


class ClientGoneError(Exception):
    """Who sent the request is no longer there."""


class StoreRequest:
    """One ASGI request and its answer."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).items()}
        self._receive = receive
        self._send = send
        self.begun = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; `ClientGoneError` when it breaks off."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def read(self, most_bytes: int) -> bytes:
        """All of the body; `ExhaustedError` when it is larger."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > most_bytes:
                raise ExhaustedError(f"it may have {most_bytes} bytes", error_code="SIZE_INVALID")
        return bytes(content)

    @property
    def byte_range(self) -> tuple[int, int | None] | None:
        """The one range that is asked for, first and last byte; several, and what is written otherwise, count as none."""
        match = _RANGE.fullmatch(self.headers.get("range", ""))
        return None if match is None else (int(match[1]), None if match[2] is None else int(match[2]))

    async def begin(self, status: int, headers: Iterable[Header]) -> None:
        """The head of the answer."""
        self.begun = True
        own = [(b"docker-distribution-api-version", b"registry/2.0")]
        await self._send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})

    async def send(self, body: bytes, *, more: bool) -> None:
        """Its body, when the client has taken what went before."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, status: int, headers: Iterable[Header] = (), body: bytes = b"", *, size_bytes: int | None = None) -> None:
        """All at once; `size_bytes` for an answer to HEAD."""
        length = len(body) if size_bytes is None else size_bytes
        await self.begin(status, [*headers, (b"content-length", b"%d" % length)])
        await self.send(body, more=False)

    async def fail(self, error: SandbankError) -> None:
        """An error as the OCI distribution specification writes it."""
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
        code = error.error_code or ("UNAUTHORIZED" if status == 401 else "UNKNOWN")
        if code == "TOOMANYREQUESTS":
            status = 429
        headers = [(b"content-type", b"application/json")]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="images"'))
        body = json.dumps({"errors": [{"code": code, "message": error.message}]}).encode()
        if self.method == "HEAD":
            await self.answer(status, headers, size_bytes=len(body))
        else:
            await self.answer(status, headers, body)
