"""Layers become files: one confined process for each."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sandbank.aiokit.tasks import finish
from sandbank.domain.errors import InternalError, InvalidError
from sandbank.registry import failures


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a pull's limits."""

    bytes: int
    entries: int
    total_mb: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer came to."""

    size_bytes: int
    entries: int
    warnings: tuple[str, ...]


async def unpack_layer(layer: IO[bytes], diff_id: str, target: Path, room: Room) -> Unpacked:
    """Put the layer in `layer` on top of what is in `target`; needs root. Cancelled or failed, what is in there is anybody's guess.

    `InvalidError` for an archive that is damaged, refused, too large, or not the one of `diff_id`.
    """
    descriptor = layer.fileno()
    request = {
        "target": str(target),
        "descriptor": descriptor,
        "diff_id": diff_id,
        "limit_bytes": room.bytes,
        "limit_entries": room.entries,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-X", "utf8", "-m", "sandbank.registry.layer_unpacker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(descriptor,),
        env={"PATH": os.defpath},
        cwd="/",
    )
    try:
        said, complained = await process.communicate(json.dumps(request).encode())
    except BaseException:
        if process.returncode is None:
            process.kill()
        await finish(process.wait())
        raise
    if process.returncode != 0:
        lines = complained.decode(errors="replace").strip().splitlines()
        raise InternalError(f"unpacking a layer ended with {process.returncode}: {lines[-1] if lines else 'no reason given'}")
    return _outcome(json.loads(said), room)


def _outcome(answer: dict[str, Any], room: Room) -> Unpacked:
    if "too_large" in answer:
        raise failures.too_large(room.used_bytes + answer["too_large"], room.total_mb)
    if "error" in answer:
        raise InvalidError(answer["error"])
    if "failed" in answer:
        raise InternalError(f"unpacking a layer failed: {answer['failed']}")
    return Unpacked(answer["size_bytes"], answer["entries"], tuple(answer["warnings"]))
