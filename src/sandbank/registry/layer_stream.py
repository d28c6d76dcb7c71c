"""A layer's archive without its compression, counted, bounded and hashed as it is read."""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import IO, Protocol

import zstandard

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_LARGEST_WINDOW_BYTES = 1 << 27
_CHUNK = 1 << 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TooLargeError(Exception):
    """There is more than there may be; `size_bytes` were seen."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"more than {size_bytes} bytes")
        self.size_bytes = size_bytes


class LayerStream(io.RawIOBase):
    """Reads `file`, whatever it is compressed by. `TooLargeError` after `limit_bytes`; for damage, what the decompressor says."""

    def __init__(self, file: IO[bytes], limit_bytes: int) -> None:
        super().__init__()
        magic = file.read(4)
        file.seek(0)
        self._source: _Readable
        if magic.startswith(_GZIP):
            self._source = gzip.GzipFile(fileobj=file, mode="rb")
        elif magic == _ZSTD:
            expander = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)
            self._source = expander.stream_reader(file, read_size=_CHUNK, read_across_frames=True)
        else:
            self._source = file
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and never more than a mebibyte at a time."""
        chunk = self._source.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self._hash.update(chunk)
        self.size += len(chunk)
        if self.size > self._limit_bytes:
            raise TooLargeError(self.size)
        return chunk

    def finish(self) -> str:
        """The digest of all there is, once the rest is read."""
        while self.read(_CHUNK):
            pass
        return f"sha256:{self._hash.hexdigest()}"
