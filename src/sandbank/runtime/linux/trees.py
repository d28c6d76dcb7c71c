"""Removing trees whose contents somebody hostile chose: any depth, any name, any number of links."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import time
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PENDING = ".pending-"


def remove_tree(top: Path, seconds: float = math.inf) -> None:
    """Remove directory `top` and what is below it; what cannot be removed in `seconds` stays. Blocks; several may do it at once.

    Where somebody still writes, there is no end to it without a limit.

    Two descriptors and no recursion however deep it is: a directory that is not empty is moved up to `top` first, so no path gets long.
    Links are removed, never followed.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(top, _DIRECTORY)
        try:
            _empty(descriptor, time.monotonic() + seconds)
        finally:
            os.close(descriptor)
        os.rmdir(top)


def _empty(top: int, deadline: float) -> None:
    # Nobody else's, also among those that remove the same tree: a name that is taken would leave a directory where it cannot be emptied.
    prefix = f"{_PENDING}{secrets.token_hex(8)}-"
    number = 0
    stuck: set[str] = set()
    while True:
        pending = [name for name in os.listdir(top) if name not in stuck]
        if not pending:
            return
        for name in pending:
            if time.monotonic() > deadline:
                return
            if not _is_removed(top, name):
                number = _raise_contents(top, name, prefix, number, deadline)
                if not _is_removed(top, name):
                    stuck.add(name)


def _is_removed(parent: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            return False
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return True
        except OSError:
            return False
    return True


def _raise_contents(top: int, name: str, prefix: str, number: int, deadline: float) -> int:
    """Remove what directory `name` holds, and move its directories that hold something up to `top`; the next unused number."""
    with contextlib.suppress(OSError):
        directory = os.open(name, _DIRECTORY, dir_fd=top)
        try:
            for inner in os.listdir(directory):
                if time.monotonic() > deadline:
                    break
                if not _is_removed(directory, inner):
                    with contextlib.suppress(OSError):
                        os.rename(inner, f"{prefix}{number}", src_dir_fd=directory, dst_dir_fd=top)
                    number += 1
        finally:
            os.close(directory)
    return number
