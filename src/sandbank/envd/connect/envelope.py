"""The framing of streams: one flag byte, four bytes of length, payload (data-plane contract §1.2)."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.envd.connect.received import MAX_RECEIVED_BYTES, RECEIVED, Share
from sandbank.envd.transport.body import gunzip

COMPRESSED = 0x01
END_OF_STREAM = 0x02
MAX_MESSAGE_BYTES = MAX_RECEIVED_BYTES - 1024 * 1024  # a client's largest single message: input for a process, base64 in JSON
_HEAD = struct.Struct(">BI")


def seal(payload: bytes, flags: int = 0) -> bytes:
    """One envelope."""
    return _HEAD.pack(flags, len(payload)) + payload


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one frame carried."""

    flags: int
    payload: bytes


class EnvelopeReader:
    """Finds envelopes in bytes that arrive in any portions."""

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit_bytes = limit_bytes

    @property
    def buffered_bytes(self) -> int:
        """What has arrived of an envelope that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Envelope]:
        """Every envelope completed by `data`; `ExhaustedError` as soon as a head announces too much."""
        self._buffer += data
        found: list[Envelope] = []
        start = 0
        while len(self._buffer) - start >= _HEAD.size:
            flags, length = _HEAD.unpack_from(self._buffer, start)
            if length > self._limit_bytes:
                raise ExhaustedError(f"message size {length} is larger than configured max {self._limit_bytes}")
            end = start + _HEAD.size + length
            if len(self._buffer) < end:
                break
            found.append(Envelope(flags, bytes(memoryview(self._buffer)[start + _HEAD.size : end])))
            start = end
        del self._buffer[:start]
        return found

    def finish(self) -> None:
        """The input has ended; `InvalidError` when that is in the middle of an envelope."""
        if self._buffer:
            raise InvalidError("protocol error: incomplete envelope: unexpected EOF")


async def payloads(chunks: AsyncIterator[bytes], compression: str) -> AsyncGenerator[bytes, None]:
    """The payload of each message of a request body, decompressed as `compression` says.

    `ExhaustedError` when that is more than may be held at a time. To be closed by who stops in the middle.
    """
    reader = EnvelopeReader()
    with RECEIVED.share() as share:
        async for data in chunks:
            held = reader.buffered_bytes + len(data)
            share.hold(held)
            for envelope in reader.feed(data):
                if envelope.flags & END_OF_STREAM:
                    return
                if not envelope.flags & COMPRESSED:
                    yield envelope.payload
                elif compression == "gzip":
                    yield _inflate(envelope.payload, held, share)
                else:
                    raise InvalidError("protocol error: sent compressed message without compression support", error_code="internal")
    reader.finish()


def _inflate(payload: bytes, held_bytes: int, share: Share) -> bytes:
    return gunzip(payload, MAX_MESSAGE_BYTES, lambda size: share.hold(held_bytes + size))
