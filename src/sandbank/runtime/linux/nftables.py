"""Firewall transactions by `nft -j`: a list of JSON commands that takes effect as a whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

from sandbank.domain.errors import UnavailableError

Command = dict[str, Any]


class NftError(Exception):
    """nft refused a transaction; nothing of it took effect. The text is nft's own."""


async def _run(arguments: Sequence[str], text: str | None) -> tuple[int, str, str]:
    # nft opens /dev/stdin by name when it reads JSON, which works for a file and not for the socket that asyncio would make.
    given = os.memfd_create("nft")
    os.write(given, (text or "").encode())
    os.lseek(given, 0, os.SEEK_SET)
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise UnavailableError("nft is not installed (package nftables)") from error
    finally:
        os.close(given)
    try:
        out, complaint = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    return process.returncode or 0, out.decode(errors="replace"), complaint.decode(errors="replace")


async def apply(commands: Sequence[Command]) -> None:
    """Run one transaction; `NftError` when it is refused. Cancelled, it may or may not have taken effect."""
    code, out, complaint = await _run(("-j", "-f", "-"), json.dumps({"nftables": list(commands)}))
    if code != 0:
        raise NftError((complaint or out).strip())


async def listing(*words: str) -> list[Command]:
    """What `nft -j list <words>` prints; empty when the thing does not exist."""
    code, out, complaint = await _run(("-j", "list", *words), None)
    if code != 0:
        if "No such file" in complaint:
            return []
        raise NftError(complaint.strip())
    found: list[Command] = json.loads(out)["nftables"]
    return found
