"""What a peer may ask of an HTTP/2 connection before it counts as an attack.

Frames cost their sender a few bytes and us a thousand times the work, so they are counted before anything else looks at them: streams that
are opened and reset at once (CVE-2023-44487), endless CONTINUATION (CVE-2024-27316), floods of SETTINGS, PING, empty DATA and WINDOW_UPDATE
(CVE-2019-9511 to 9518).
"""

from __future__ import annotations

import struct

from sandbank.proxy.head import MAX_HEAD_BYTES

_HEADER = struct.Struct(">HBBBL")  # RFC 9113 §4.1; the length is its first two fields
_HEADER_BYTES = 9
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x7, 0x8, 0x9  # RFC 9113 §6
_END_STREAM, _END_HEADERS = 0x1, 0x4
_MAX_SETTINGS_BYTES = 6 * 64  # settings are remembered, also those that nobody has heard of
_MAX_CONTINUATIONS = 16


class CalmError(Exception):
    """The peer asks too much; the connection ends with ENHANCE_YOUR_CALM."""


class Allowance:
    """So many at once, so many per second in the long run."""

    __slots__ = ("_burst", "_filled_at", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._filled_at = -1.0

    def spend(self, now: float) -> None:
        """Take one; `CalmError` when there is none left."""
        if self._filled_at < 0:
            self._filled_at = now
        self._left -= 1
        if self._left < 0:
            self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            if self._left < 0:
                raise CalmError

    def earn(self, amount: float) -> None:
        """Allow some more."""
        self._left = min(self._burst, self._left + amount)


class FrameGuard:
    """Follows the frames in a connection's bytes.

    `block_began_at` is when a header block began that is not complete yet, else None. GOAWAY is taken out of the stream and only noted in
    `going_away`: a peer that opens no more streams still wants the answers to those it has, which the library would not let us send.
    """

    __slots__ = (
        "_block_bytes",
        "_continuations",
        "_control",
        "_held",
        "_left",
        "_resets",
        "_skipping",
        "_updates",
        "block_began_at",
        "frames",
        "going_away",
    )

    def __init__(self, preface_bytes: int) -> None:
        self._held = b""  # of a frame's header that has come in part
        self._left = preface_bytes  # of the current frame that have not come
        self._skipping = False
        self._block_bytes = 0
        self._continuations = 0
        self._resets = Allowance(300, 50)
        self._control = Allowance(1000, 200)
        self._updates = Allowance(10_000, 1000)
        self.block_began_at: float | None = None
        self.going_away = False
        self.frames = 0  # that have begun

    def provoked(self, now: float) -> None:
        """The peer made us reset a stream, which costs as much as if it had done so itself (CVE-2025-8671); `CalmError` as in `pass_on`."""
        self._resets.spend(now)

    def sent(self, size: int) -> None:
        """So much DATA went out: the peer may report its windows for it."""
        self._updates.earn(size / 256)

    def pass_on(self, data: bytes, now: float) -> bytes:
        """What of `data` the library is to see; `CalmError` when it goes too far."""
        if self._left >= len(data) and not self._held:  # all of it is inside one frame
            self._left -= len(data)
            return b"" if self._skipping else data
        if self._held:
            data = self._held + data
            self._held = b""
        passed: list[bytes] = []
        position = 0
        while position < len(data):
            if self._left:
                piece = data[position : position + self._left]
                self._left -= len(piece)
                position += len(piece)
                if not self._skipping:
                    passed.append(piece)
                continue
            if position + _HEADER_BYTES > len(data):
                self._held = data[position:]
                break
            high, low, kind, flags, _ = _HEADER.unpack_from(data, position)
            size = high << 8 | low
            self.frames += 1
            self._count(kind, flags, size, now)
            self._skipping = kind == _GOAWAY
            if self._skipping:
                self.going_away = True
                position += _HEADER_BYTES
                self._left = size
            else:
                self._left = _HEADER_BYTES + size
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _count(self, kind: int, flags: int, size: int, now: float) -> None:
        if kind == _DATA:
            if size == 0 and not flags & _END_STREAM:
                self._control.spend(now)
        elif kind == _HEADERS:
            self._block_bytes = size
            self._continuations = 0
            self._block(flags, now)
        elif kind == _CONTINUATION:
            self._block_bytes += size
            self._continuations += 1
            self._block(flags, now)
        elif kind == _WINDOW_UPDATE:
            self._updates.spend(now)
        elif kind == _RST_STREAM:
            self._resets.spend(now)
        else:
            if kind == _SETTINGS and size > _MAX_SETTINGS_BYTES:
                raise CalmError
            self._control.spend(now)

    def _block(self, flags: int, now: float) -> None:
        if self._block_bytes > MAX_HEAD_BYTES or self._continuations > _MAX_CONTINUATIONS:
            raise CalmError
        if flags & _END_HEADERS:
            self.block_began_at = None
        elif self.block_began_at is None:
            self.block_began_at = now
