"""The requests on an HTTP/1 connection, told apart so strictly that no server can see others in the same bytes; pure (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbank.runtime.network.egress.names import of_authority

MAX_HEAD_BYTES = 32 * 1024
_MAX_HEADERS = 256
_MAX_LINE = 4096
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST = re.compile(rb"([A-Z][A-Z-]{0,31}) ([\x21-\x7e]+) HTTP/1\.([01])")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(;[\t\x20-\x7e]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class AmbiguousRequestError(ValueError):
    """Not HTTP/1, or such that another parser might read it differently."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head as it came, the empty line included; header names in lower case. `name` is None where it names no host."""

    raw: bytes
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    name: str | None

    def values(self, header: bytes) -> list[bytes]:
        """All values of one header."""
        return [value for name, value in self.headers if name == header]

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client wants to change to."""
        found = self.values(b"upgrade")
        return found[0].lower() if found else None


def parse_head(raw: bytes) -> Head:
    """Of exactly one head; `AmbiguousRequestError` for what servers could take in two ways."""
    first, *lines = raw[:-4].split(b"\r\n")
    matched = _REQUEST.fullmatch(first)
    if matched is None:
        raise AmbiguousRequestError("request line")
    if len(lines) > _MAX_HEADERS:
        raise AmbiguousRequestError("too many headers")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise AmbiguousRequestError("header")
        headers.append((name.lower(), value))
    method, target, minor = matched.groups()
    return Head(raw, method, target, tuple(headers), _name(method, target, headers, minor))


def _name(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], minor: bytes) -> str | None:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or method == b"CONNECT":
        raise AmbiguousRequestError("host")
    if target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"):
        return of_authority(hosts[0]) if hosts else None
    if not target[:7].lower() == b"http://" or not hosts:
        raise AmbiguousRequestError("target")
    authority = re.split(rb"[/?#]", target[7:], maxsplit=1)[0]
    # RFC 9112 §3.2.2: the target wins over Host; here nobody has to know that.
    if authority.lower() != hosts[0].lower():
        raise AmbiguousRequestError("target and host")
    return of_authority(authority)


class RequestReader:
    """Takes bytes as they come and gives them back, heads as `Head` and everything else as it was."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._left = 0  # of a body or a chunk
        self._stage = "head"

    def feed(self, data: bytes) -> list[Head | bytes]:
        """What is complete. `AmbiguousRequestError` when it is no HTTP/1, after which the connection is of no use."""
        out: list[Head | bytes] = []
        self._data = self._data[self._at :] + data
        self._at = 0
        while self._at < len(self._data):
            if self._stage in ("body", "chunk"):
                piece = self._data[self._at : self._at + self._left]
                self._at += len(piece)
                self._left -= len(piece)
                out.append(piece)
                if not self._left:
                    self._stage = "head" if self._stage == "body" else "chunk end"
            elif not self._step(out):
                break
        return out

    @property
    def is_amid(self) -> bool:
        """Whether something is held, or a body expected."""
        return self._at < len(self._data) or self._stage != "head"

    def _step(self, out: list[Head | bytes]) -> bool:
        if self._stage == "head":
            if (raw := self._until(b"\r\n\r\n", MAX_HEAD_BYTES)) is None:
                return False
            head = parse_head(raw)
            self._begin_body(head)
            out.append(head)
            return True
        if (line := self._until(b"\r\n", _MAX_LINE)) is None:
            return False
        if self._stage == "chunk size":
            matched = _CHUNK.fullmatch(line[:-2])
            if matched is None:
                raise AmbiguousRequestError("chunk")
            self._left = int(matched[1], 16)
            self._stage = "chunk" if self._left else "trailers"
        elif self._stage == "chunk end":
            if line != b"\r\n":
                raise AmbiguousRequestError("chunk")
            self._stage = "chunk size"
        elif line == b"\r\n":
            self._stage = "head"
        else:
            name, colon, value = line[:-2].partition(b":")
            if not colon or _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
                raise AmbiguousRequestError("trailer")
        out.append(line)
        return True

    def _until(self, end: bytes, most: int) -> bytes | None:
        found = self._data.find(end, self._at, self._at + most)
        if found < 0:
            if len(self._data) - self._at >= most:
                raise AmbiguousRequestError("too long")
            return None
        piece = self._data[self._at : found + len(end)]
        self._at = found + len(end)
        return piece

    def _begin_body(self, head: Head) -> None:
        lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
        is_old = b" HTTP/1.0\r\n" in head.raw[: head.raw.index(b"\n") + 1]
        if len(lengths) + len(codings) > 1 or (codings and (codings[0].lower() != b"chunked" or is_old)):
            raise AmbiguousRequestError("framing")
        if lengths and _LENGTH.fullmatch(lengths[0]) is None:
            raise AmbiguousRequestError("framing")
        if head.values(b"upgrade") and (codings or (lengths and int(lengths[0]))):
            raise AmbiguousRequestError("upgrade with a body")
        if codings:
            self._stage = "chunk size"
        elif lengths and int(lengths[0]):
            self._stage, self._left = "body", int(lengths[0])
