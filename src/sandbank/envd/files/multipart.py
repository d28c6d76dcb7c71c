"""Multipart bodies, parsed as they arrive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from sandbank.domain.errors import InvalidError

MAX_HEAD_BYTES = 64 * 1024
_PARAMETER = re.compile(r';\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')
_ESCAPED = re.compile(r'\\(["\\])')


def parameters(value: str) -> dict[str, str]:
    """The parameters of a header value; in quotes, only quotes and backslashes are escaped."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(";" + value.partition(";")[2]):
        key, text = name.lower(), _ESCAPED.sub(r"\1", quoted) if quoted else bare
        if key.endswith("*"):  # RFC 2231: charset'language'percent-encoded
            key, text = key[:-1], unquote(text.rpartition("'")[2], errors="surrogateescape")
        found.setdefault(key, text)
    return found


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part starts; what its disposition says."""

    name: str | None
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    """A piece of the current part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part is complete."""


Event = PartBegin | PartData | PartEnd


class MultipartParser:
    """Fed with portions of any size; holds back no more than a boundary or a part's head."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("utf-8", "surrogateescape")
        self._buffer = bytearray(b"\r\n")  # the first boundary stands at a line's start too
        self._state = "preamble"

    def feed(self, data: bytes) -> Iterator[Event]:
        """Every event that `data` completes; `InvalidError` for what is no multipart body."""
        self._buffer += data
        while True:
            before = (self._state, len(self._buffer))
            match self._state:
                case "preamble" | "body":
                    yield from self._content()
                case "boundary":
                    self._boundary()
                case "head":
                    yield from self._head()
                case _:
                    self._buffer.clear()
            if (self._state, len(self._buffer)) == before:
                return

    def finish(self) -> None:
        """The body has ended; `InvalidError` unless its last boundary was there."""
        if self._state != "end":
            raise InvalidError("error parsing multipart form: unexpected EOF")

    def _content(self) -> Iterator[Event]:
        in_part = self._state == "body"
        position = self._buffer.find(self._delimiter)
        complete = position >= 0
        take = position if complete else len(self._buffer) - len(self._delimiter) + 1
        if take > 0:
            if in_part:
                yield PartData(bytes(memoryview(self._buffer)[:take]))
            del self._buffer[:take]
        if complete:
            del self._buffer[: len(self._delimiter)]
            self._state = "boundary"
            if in_part:
                yield PartEnd()

    def _boundary(self) -> None:
        if self._buffer.startswith(b"--"):
            self._state = "end"
            return
        line, newline, _ = self._buffer.partition(b"\r\n")
        if newline:
            if line.strip(b" \t"):
                raise InvalidError("error parsing multipart form: malformed boundary line")
            del self._buffer[: len(line)]  # the line's end stays: a head without lines ends with two
            self._state = "head"
        elif len(self._buffer) > MAX_HEAD_BYTES:
            raise InvalidError("error parsing multipart form: malformed boundary line")

    def _head(self) -> Iterator[Event]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise InvalidError("error parsing multipart form: header too long")
            return
        disposition = ""
        for line in bytes(self._buffer[:end]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-disposition":
                disposition = value.decode("utf-8", "surrogateescape").strip()
        del self._buffer[: end + 4]
        self._state = "body"
        found = parameters(disposition)
        yield PartBegin(found.get("name"), found.get("filename"))


async def parse(chunks: AsyncIterator[bytes], boundary: str) -> AsyncIterator[Event]:
    """The events of a whole body."""
    parser = MultipartParser(boundary)
    async for data in chunks:
        for event in parser.feed(data):
            yield event
    parser.finish()
