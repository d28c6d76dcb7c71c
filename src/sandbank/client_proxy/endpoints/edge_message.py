"""Requests and answers of the edge API; errors are `{code, message}` (contract data-plane §8.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sandbank.domain.errors import SandbankError
from sandbank.servicekit.http_status import status_of


@dataclass(frozen=True, slots=True)
class Request:
    """One request whose body has arrived. `fields` has the first value of each header, names in lower case."""

    method: str
    path: str  # as it was sent, without the query
    fields: Mapping[bytes, bytes]
    body: bytes = b""
    query: str = ""  # as it was sent, without the question mark


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; an empty body has no type. `allow` lists the methods that would have been right."""

    status: int
    body: bytes = b""
    allow: tuple[str, ...] = ()

    def encode(self, *, close: bool, head_only: bool = False) -> bytes:
        """The bytes on the wire; with `close` the client is told that this is the last answer on its connection."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Length: {len(self.body)}",
            "X-Content-Type-Options: nosniff",
        ]
        if self.body:
            lines.append("Content-Type: application/json; charset=utf-8")
        if self.allow:
            lines.append("Allow: " + ", ".join(self.allow))
        if close:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head_only else self.body)


def json_answer(content: Any) -> Answer:
    """200 with `content`."""
    return Answer(200, json.dumps(content, separators=(",", ":")).encode())


def problem(status: int, message: str, allow: tuple[str, ...] = ()) -> Answer:
    """An error."""
    return Answer(status, json.dumps({"code": status, "message": message}, separators=(",", ":")).encode(), allow)


def problem_of(error: SandbankError) -> Answer:
    """A domain error, by its nearest category."""
    return problem(status_of(error), error.message)
