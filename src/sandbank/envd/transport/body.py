"""The body of one request, handed over as it arrives."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable

from sandbank.domain.errors import ExhaustedError, InvalidError

HIGH_WATER_BYTES = 256 * 1024  # reading pauses above this: an upload never outruns the disk in memory
LOW_WATER_BYTES = 64 * 1024
PIECE_BYTES = 1024 * 1024


class RequestBody:
    """A bounded queue of body bytes between the parser and one reader.

    `on_demand` is called before the first wait (an `Expect: 100-continue` is answered then), `on_drained` whenever enough was taken
    for reading to go on.
    """

    def __init__(self, on_demand: Callable[[], None], on_drained: Callable[[], None]) -> None:
        self._on_demand = on_demand
        self._on_drained = on_drained
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._discarding = False
        self.buffered_bytes = 0
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Append what the parser found; dropped when nobody will read it."""
        if self._discarding:
            return
        self._chunks.append(data)
        self.buffered_bytes += len(data)
        self._wake()

    def finish(self) -> None:
        """The body has ended as its framing says."""
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The body will never end properly; the reader gets `error` after what had arrived."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Drop what is queued and what follows."""
        self._discarding = True
        self._chunks.clear()
        self.buffered_bytes = 0
        self._on_drained()

    async def read(self) -> bytes:
        """The next piece, or `b""` at the end; raises `ConnectionError` when the peer left in the middle."""
        while not self._chunks:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            self._on_demand()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft()
        self.buffered_bytes -= len(data)
        if self.buffered_bytes <= LOW_WATER_BYTES:
            self._on_drained()
        return data

    async def read_all(self, limit_bytes: int, on_size: Callable[[int], None] = lambda size: None) -> bytes:
        """The whole body; `ExhaustedError` above `limit_bytes`. `on_size` hears how much it is so far, and may raise."""
        chunks: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit_bytes:
                raise ExhaustedError(f"message size {size} is larger than configured max {limit_bytes}")
            on_size(size)
            chunks.append(data)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Every piece in turn until the end."""
        while data := await self.read():
            yield data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def gunzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What a gzip body (of one or several members) contains, in pieces of bounded size; `InvalidError` when it is damaged."""
    member = zlib.decompressobj(31)
    seen = begun = False
    try:
        async for data in chunks:
            seen = True
            while data:
                begun = True
                if piece := member.decompress(data, HIGH_WATER_BYTES):
                    yield piece
                if member.eof:
                    data, member, begun = member.unused_data, zlib.decompressobj(31), False
                else:
                    data = member.unconsumed_tail
        if begun and (rest := member.flush()):
            yield rest
    except zlib.error as error:
        raise InvalidError(f"error decompressing request body: {error}") from error
    if not seen or (begun and not member.eof):
        raise InvalidError("error decompressing request body: unexpected EOF")


def gunzip(data: bytes, limit_bytes: int, on_size: Callable[[int], None] = lambda size: None) -> bytes:
    """One gzip member; `ExhaustedError` above `limit_bytes`, `InvalidError` when it is damaged. `on_size` as in `RequestBody.read_all`."""
    member = zlib.decompressobj(31)
    pieces: list[bytes] = []
    size = 0
    try:
        while data and not member.eof:
            pieces.append(member.decompress(data, PIECE_BYTES))
            data = member.unconsumed_tail
            size += len(pieces[-1])
            if size > limit_bytes:
                raise ExhaustedError(f"message size is larger than configured max {limit_bytes}")
            on_size(size)
    except zlib.error as error:
        raise InvalidError(f"decompress: {error}") from error
    if not member.eof:
        raise InvalidError("decompress: unexpected EOF")
    return b"".join(pieces)
