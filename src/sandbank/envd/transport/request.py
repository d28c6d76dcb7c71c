"""One request's head, as handlers see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl, unquote

from sandbank.envd.transport.body import RequestBody


@dataclass(eq=False)
class Request:
    """Method, target and headers (names in lower case, first value wins) with the body still arriving."""

    method: str
    target: str
    headers: dict[str, str]
    http_version: str
    keep_alive: bool
    body: RequestBody
    cancel_on_eof: bool = False
    """Set by streams: they live as long as the peer does, even if it only closed its sending side."""
    username: str | None = None
    """The user of `Authorization: Basic`, verified to exist; None means the sandbox's default user."""

    @cached_property
    def path(self) -> str:
        """The decoded path without query."""
        target = self.target
        if not target.startswith("/") and "://" in target:
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        return unquote(target.partition("?")[0])

    @cached_property
    def query(self) -> dict[str, str]:
        """Decoded query parameters, first value wins; bytes that are no UTF-8 survive as surrogates, as in file names."""
        values: dict[str, str] = {}
        for name, value in parse_qsl(self.target.partition("?")[2], keep_blank_values=True, errors="surrogateescape"):
            values.setdefault(name, value)
        return values

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int | None:
        """The announced length of the body, if it was announced."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() else None
