"""A file to be read: opened without ever waiting, and read without holding up the loop when it is not in memory."""

from __future__ import annotations

import os
import stat

from sandbank.domain.errors import InternalError, InvalidError, NotFoundError
from sandbank.envd.offload import off_loop

WINDOW_BYTES = 4 * 1024 * 1024
_UNREADABLE = (stat.S_ISFIFO, stat.S_ISSOCK)


def open_source(path: str) -> int:
    """A descriptor. `NotFoundError`, `InvalidError` and `InternalError` as clients know them (data-plane contract §4.4).

    A pipe is refused: it may have nothing to say for ever. Devices are opened without becoming anybody's terminal.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InvalidError(f"path '{path}' is a directory")
        if any(matches(mode) for matches in _UNREADABLE):
            raise InternalError(f"error opening file '{path}': it is a pipe or a socket")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"path '{path}' does not exist") from error
    except OSError as error:
        raise InternalError(f"error opening file '{path}': {error.strerror}") from error
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # put there in the meantime
        os.close(descriptor)
        raise InternalError(f"error opening file '{path}': it is a pipe or a socket")
    return descriptor


async def bring_in(descriptor: int, offset: int, length: int) -> None:
    """See to it that the next part of a file is in the page cache, by a thread if it is not."""
    if not _is_resident(descriptor, offset + length - 1):
        await off_loop(_load, descriptor, offset, length)


def _is_resident(descriptor: int, position: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], position, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:  # a file system that cannot say
        return True
    return True


def _load(descriptor: int, offset: int, length: int) -> None:
    os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
    buffer = bytearray(256 * 1024)
    end = offset + length
    while offset < end and (count := os.preadv(descriptor, [buffer], offset)):
        offset += count
