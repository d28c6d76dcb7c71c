"""Firewall transactions by `nft -j`: a list of JSON commands that takes effect as a whole or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from sandbank.domain.errors import UnavailableError

Command = dict[str, Any]


class NftError(Exception):
    """nft refused a transaction; nothing of it took effect. The text is nft's own."""


async def _run(arguments: Sequence[str], text: str | None) -> tuple[int, str, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=asyncio.subprocess.PIPE if text is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise UnavailableError("nft is not installed (package nftables)") from error
    try:
        out, complaint = await process.communicate(text.encode() if text is not None else None)
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
