"""TypeIDs: a prefix and a UUIDv7 in 26 characters, which sort by the time they were made (rest-api contract §4.1)."""

from __future__ import annotations

import secrets
import time
import uuid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def new_uuid7() -> uuid.UUID:
    """A fresh one: milliseconds since the epoch, then 74 random bits."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return uuid.UUID(int=number & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62)


def encode(prefix: str, value: uuid.UUID) -> str:
    """`<prefix>_<26 characters>`."""
    number, characters = value.int, []
    for _ in range(_LENGTH):
        characters.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(characters))}"


def decode(prefix: str, text: str) -> uuid.UUID | None:
    """The value of such an ID; None for what is none."""
    start, _, rest = text.partition("_")
    if start != prefix or len(rest) != _LENGTH or not all(character in _VALUES for character in rest):
        return None
    number = 0
    for character in rest:
        number = number << 5 | _VALUES[character]
    return None if number >> 128 else uuid.UUID(int=number)
