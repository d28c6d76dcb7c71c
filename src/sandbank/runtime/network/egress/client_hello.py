"""The server's name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), put together from records; pure."""

from __future__ import annotations

from dataclasses import dataclass

from sandbank.runtime.network.egress.names import canonical

MAX_BYTES = 32 * 1024
"""Of a ClientHello with its record headers. Post-quantum key shares make it some 2 KiB, pre-shared keys a few more."""
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_MAX_RECORD = 16_384
_MAX_RECORDS = 64  # a client needs one; each costs as much as a record a thousand times its size


class _IncompleteError(Exception):
    """More has to come."""


class _MalformedError(Exception):
    """No ClientHello."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants: `name` is None when it named nobody, or in a way that servers could read differently."""

    name: str | None


def read_hello(data: bytes) -> Asked | None:
    """None while more has to come. Whatever is no TLS has asked for nobody.

    An encrypted inner name (ECH) is not seen: the outer one is what is asked for, and where the connection is made to.
    """
    try:
        return Asked(_server_name(_hello(data)))
    except _IncompleteError:
        return None if len(data) < MAX_BYTES else Asked(None)
    except _MalformedError:
        return Asked(None)


def _hello(data: bytes) -> bytes:
    """The handshake message's body; it may be spread over records, of which none is empty (RFC 8446 §5.1)."""
    message = bytearray()
    position = count = 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        count += 1
        if count > _MAX_RECORDS:
            raise _MalformedError
        header = data[position : position + 5]
        if (header[:1] and header[0] != _HANDSHAKE) or (header[1:2] and header[1] != 3):
            raise _MalformedError
        if len(header) < 5:
            raise _IncompleteError
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= _MAX_RECORD:
            raise _MalformedError
        message += data[position + 5 : position + 5 + length]
        if message[:1] and message[0] != _CLIENT_HELLO:
            raise _MalformedError
        position += 5 + length
        if position > len(data):
            raise _IncompleteError
    return bytes(message[4 : 4 + int.from_bytes(message[1:4], "big")])


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise _MalformedError
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _server_name(body: bytes) -> str | None:
    reader = _Reader(body)
    reader.take(2 + 32)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    if reader.is_done:
        return None
    extensions = _Reader(reader.vector(2))
    if not reader.is_done:
        raise _MalformedError
    seen: set[int] = set()
    name: str | None = None
    while not extensions.is_done:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind in seen:  # which of two counts, servers may judge differently
            raise _MalformedError
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _only_name(content)
    return name


def _only_name(content: bytes) -> str | None:
    reader = _Reader(content)
    names = _Reader(reader.vector(2))
    kind, name = names.number(1), names.vector(2)
    if kind != _HOST_NAME or not names.is_done or not reader.is_done:
        raise _MalformedError
    return canonical(name)
