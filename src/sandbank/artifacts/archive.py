"""Directories as streams, with owners, times, extended attributes, links and holes: the system's `tar`, compressed by zstd."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import zstandard

from sandbank.domain.errors import InternalError

_LEVEL = 3
_CHUNK = 1 << 20
_KEEP = ("--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse")


class Packing:
    """The archive of a directory, or of one file in it; `sha256` and `size` are those of what has been given out. To be iterated once.

    Blocks. `InternalError` when files cannot be read. Given up, it leaves nothing running.
    """

    def __init__(self, directory: Path, name: str = ".") -> None:
        self._directory = directory
        self._name = name
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        command = ["tar", "--create", "--format=posix", *_KEEP, "-C", str(self._directory), "--", self._name]
        with tempfile.TemporaryFile() as said:
            # Closing its output, as leaving the block does, ends a tar that has more to write.
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as tar:
                assert tar.stdout is not None
                for chunk in zstandard.ZstdCompressor(level=_LEVEL).read_to_iter(tar.stdout, read_size=_CHUNK, write_size=_CHUNK):
                    self._hash.update(chunk)
                    self.size += len(chunk)
                    yield chunk
            _check(tar.returncode, said, f"{self._directory} could not be archived")


def unpack(chunks: Iterable[bytes], directory: Path, sha256: str, what: str) -> None:
    """Put what a `Packing` gave out into an empty directory. Blocks.

    `InternalError`, naming `what`, when it is not what its checksum says or cannot be written: then nothing there is to be trusted. What
    the files are called is up to tenants; tar leads none of them outside.
    """
    digest = hashlib.sha256()
    command = ["tar", "--extract", "--same-owner", "--same-permissions", "--delay-directory-restore", *_KEEP, "-C", str(directory)]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said) as tar:
            assert tar.stdin is not None
            # What a few bytes expand to is up to tenants as well: this writer hands it on in pieces.
            expand = zstandard.ZstdDecompressor().stream_writer(tar.stdin, write_size=_CHUNK, closefd=False)
            try:
                for chunk in chunks:
                    digest.update(chunk)
                    expand.write(chunk)
            except (zstandard.ZstdError, BrokenPipeError) as error:
                tar.kill()
                raise InternalError(f"{what} is damaged: {error}") from error
            except BaseException:
                tar.kill()
                raise
        if digest.hexdigest() != sha256:
            raise InternalError(f"{what} is damaged: its checksum is {digest.hexdigest()} and not {sha256}")
        _check(tar.returncode, said, f"{what} could not be unpacked")


def _check(code: int, said: IO[bytes], what: str) -> None:
    if code:
        said.seek(0)
        lines = said.read(4096).decode(errors="replace").strip().splitlines()
        raise InternalError(f"{what}: {lines[0] if lines else f'tar ended with {code}'}")
