"""The image of a user namespace, changed to another range of the node's uids (CRIU's `userns.proto`)."""

from __future__ import annotations

_COUNT = 65536
_MAGICS = 8  # bytes, before the length of the one entry, 4 bytes little-endian


def moved(image: bytes, base_uid: int) -> bytes:
    """`image`, but with inner ids from 0 on being `base_uid` and following outside, of users as of groups."""
    extent = b"".join(tag + _varint(number) for tag, number in ((b"\x08", 0), (b"\x10", base_uid), (b"\x18", _COUNT)))
    entry = b"".join(tag + _varint(len(extent)) + extent for tag in (b"\x0a", b"\x12"))
    return image[:_MAGICS] + len(entry).to_bytes(4, "little") + entry


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
