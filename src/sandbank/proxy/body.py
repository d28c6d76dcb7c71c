"""Where a message's body ends. Bodies are counted, not copied: the bytes travel on as they came."""

from __future__ import annotations

import re
from typing import Protocol

MAX_CHUNK_LINE_BYTES = 4096
MAX_TRAILER_BYTES = 64 * 1024
# Chunks of one byte cost as much as large ones. After so many lines it is somebody else's turn: less than a millisecond.
LINES_PER_SCAN = 512
# How far chunk lines may outgrow what the chunks carry: extensions are free text, and each chunk may have some.
MAX_CHUNK_OVERHEAD_BYTES = 16 * 1024
_FREE_BYTES_PER_CHUNK = 16

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*")
FORBIDDEN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer"})


class BodyError(Exception):
    """The bytes break the framing that the head announced."""


class Body(Protocol):
    """Follows one message's body through the bytes of a connection."""

    done: bool

    def scan(self, data: bytes, start: int, payload: list[bytes] | None = None) -> int:
        """The index behind the last byte of `data[start:]` that belongs to this body; sets `done` at its end.

        Where there is more work in it than one turn should take, the index is where to go on in the next one.
        With `payload`, what the body says without its framing is appended to it. `BodyError` when the framing is broken.
        """
        ...


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0

    def scan(self, data: bytes, start: int, payload: list[bytes] | None = None) -> int:
        """See `Body`."""
        size = len(data) - start
        if size >= self.remaining:
            size = self.remaining
            self.done = True
        self.remaining -= size
        if payload is not None:
            payload.append(data[start : start + size])
        return start + size


class OpenBody:
    """A response's body that ends when the origin closes the connection; whoever sees that sets `done`."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def scan(self, data: bytes, start: int, payload: list[bytes] | None = None) -> int:
        """See `Body`."""
        if payload is not None:
            payload.append(data[start:])
        return len(data)


_SIZE, _DATA, _DATA_END, _TRAILER = range(4)


class ChunkedBody:
    """A chunked body, checked as strictly as a head: hexadecimal sizes, CRLF only, `trailers` that are header lines."""

    __slots__ = ("_overhead", "_partial", "_remaining", "_state", "_trailer_bytes", "done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers: list[bytes] = []
        self._state = _SIZE
        self._remaining = 0
        self._partial = b""
        self._overhead = 0
        self._trailer_bytes = 0

    def scan(self, data: bytes, start: int, payload: list[bytes] | None = None) -> int:
        """See `Body`."""
        position = start
        end = len(data)
        lines = LINES_PER_SCAN
        while position < end and lines and not self.done:
            if self._state == _DATA:
                size = min(self._remaining, end - position)
                if payload is not None:
                    payload.append(data[position : position + size])
                self._remaining -= size
                position += size
                if self._remaining == 0:
                    self._state = _DATA_END
                continue
            line_end = data.find(b"\n", position)
            if line_end < 0:
                self._keep(data[position:])
                return end
            line = self._partial + data[position : line_end + 1] if self._partial else data[position : line_end + 1]
            self._partial = b""
            position = line_end + 1
            if line[-2:] != b"\r\n":
                raise BodyError("bare line feed")
            self._line(line[:-2])
            lines -= 1
        return position

    def _keep(self, piece: bytes) -> None:
        self._partial += piece
        limit = {_SIZE: MAX_CHUNK_LINE_BYTES, _DATA_END: 1, _TRAILER: MAX_TRAILER_BYTES}[self._state]
        if len(self._partial) > limit or (self._state == _DATA_END and self._partial != b"\r"):
            raise BodyError("chunk line too long")

    def _line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _CHUNK_LINE.fullmatch(line)
            if match is None or len(line) > MAX_CHUNK_LINE_BYTES:
                raise BodyError("invalid chunk size")
            self._remaining = int(match[1], 16)
            self._overhead = max(self._overhead + len(line) - _FREE_BYTES_PER_CHUNK - 2 * self._remaining, 0)
            if self._overhead > MAX_CHUNK_OVERHEAD_BYTES:
                raise BodyError("chunk lines outweigh the body")
            self._state = _DATA if self._remaining else _TRAILER
        elif self._state == _DATA_END:
            if line:
                raise BodyError("chunk longer than announced")
            self._state = _SIZE
        elif not line:
            self.done = True
        else:
            self._trailer_bytes += len(line) + 2
            match = _TRAILER_LINE.fullmatch(line)
            if match is None or match[1].lower() in FORBIDDEN_TRAILERS or self._trailer_bytes > MAX_TRAILER_BYTES:
                raise BodyError("invalid trailer")
            self.trailers.append(line)
