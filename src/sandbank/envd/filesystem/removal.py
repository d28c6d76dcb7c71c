"""Removing whole trees."""

from __future__ import annotations

import os
import stat

from sandbank.domain.errors import InternalError
from sandbank.envd.filesystem.slices import Slicer


async def remove_tree(path: str) -> None:
    """Remove `path` and everything below it without following links; a path that does not exist is fine.

    Cancelled, it leaves the part that was not reached yet. `InternalError` when something cannot be removed.
    """
    slicer = Slicer()
    pending: list[tuple[str, bool]] = [(path, False)]
    try:
        while pending:
            current, emptied = pending.pop()
            await slicer.step()
            try:
                if emptied:
                    os.rmdir(current)
                elif stat.S_ISDIR(os.lstat(current).st_mode):
                    pending.append((current, True))
                    pending.extend((f"{current}/{name}", False) for name in os.listdir(current))
                else:
                    os.unlink(current)
            except (FileNotFoundError, NotADirectoryError):
                continue
    except OSError as error:
        raise InternalError(f"error removing file or directory: {error.strerror}: {error.filename}") from error
