"""What an agent was told after its start, for the agent that pid 1 starts in its place should it die."""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from typing import Any

_HEADER = struct.Struct("=QII")  # number of the record, length of its text, and the checksum of both with the text
_NUMBER_AND_LENGTH = struct.Struct("=QI")
_SLOT_BYTES = 8 * 1024 * 1024  # twice what one `/init` may bring; what is not written takes no memory
_SLOTS = 2
_TEXTS = ("sandbox_id", "template_id", "default_user")
_OPTIONAL_TEXTS = ("access_token", "default_workdir", "ca_bundle")
FIELDS = frozenset((*_TEXTS, *_OPTIONAL_TEXTS, "env_vars"))


class ConfigRecord:
    """Memory that pid 1 and its agents share; one of them writes at a time. It is part of a memory snapshot as all memory is.

    Two slots take turns, so that an agent which dies while it writes leaves the record before. Whoever may write into the agent's memory
    may write here: what is read is as trustworthy as the agent was, and only what an agent may be told is taken from it.
    """

    def __init__(self, slot_bytes: int = _SLOT_BYTES) -> None:
        self._slot_bytes = slot_bytes
        self._memory = mmap.mmap(-1, _SLOTS * slot_bytes)

    def write(self, fields: Mapping[str, object]) -> None:
        """Replace the record; `OSError` if there is no room for so much, and then the one before stays."""
        text = json.dumps(dict(fields), ensure_ascii=False).encode()
        if _HEADER.size + len(text) > self._slot_bytes:
            raise OSError(0, f"{len(text)} bytes are more than can be kept", "environment")
        newest = self._newest()
        number = 1 if newest is None else newest[0] + 1
        start = number % _SLOTS * self._slot_bytes
        self._memory[start + _HEADER.size : start + _HEADER.size + len(text)] = text
        self._memory[start : start + _HEADER.size] = _HEADER.pack(number, len(text), _checksum(number, text))

    def read(self) -> dict[str, Any]:
        """Fields of `AgentConfig` as they were told last; empty if none were, or if what is there makes no sense."""
        newest = self._newest()
        try:
            fields = {} if newest is None else json.loads(newest[1])
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) and _is_config(fields) else {}

    def _newest(self) -> tuple[int, bytes] | None:
        found = [slot for slot in map(self._slot, range(_SLOTS)) if slot is not None]
        return max(found, default=None)

    def _slot(self, index: int) -> tuple[int, bytes] | None:
        start = index * self._slot_bytes
        number, length, checksum = _HEADER.unpack_from(self._memory, start)
        # The last number would leave none for the next.
        if not 0 < number < 2**64 - 1 or length > self._slot_bytes - _HEADER.size:
            return None
        text = self._memory[start + _HEADER.size : start + _HEADER.size + length]
        return (number, text) if checksum == _checksum(number, text) else None


def _checksum(number: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(_NUMBER_AND_LENGTH.pack(number, len(text))))


def _is_config(fields: dict[str, Any]) -> bool:
    environment = fields.get("env_vars", {})
    return (
        fields.keys() <= FIELDS
        and all(isinstance(fields[name], str) for name in _TEXTS if name in fields)
        and all(isinstance(fields[name], str | None) for name in _OPTIONAL_TEXTS if name in fields)
        and isinstance(environment, dict)
        and all(isinstance(text, str) for text in environment.values())
    )
