"""CRIU's images: two magic numbers, then messages of protobuf, each after its length: 4 bytes, little-endian."""

from __future__ import annotations

MAGICS = 8  # bytes


def entries(image: bytes) -> list[bytes]:
    """Its messages."""
    found, start = [], MAGICS
    while start < len(image):
        length = int.from_bytes(image[start : start + 4], "little")
        found.append(image[start + 4 : start + 4 + length])
        start += 4 + length
    return found


def fields(message: bytes) -> dict[int, int | bytes]:
    """Its fields by number, the last of each; numbers with a sign are not told from others."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            found[tag >> 3], at = varint(message, at)
        elif kind == 2:
            length, at = varint(message, at)
            found[tag >> 3], at = message[at : at + length], at + length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise OSError(f"an image has a field of kind {kind}")
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at this place, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
