"""Images of a tree that had one range of the node's uids, changed to another: a restore makes both namespace and mounts as they say."""

from __future__ import annotations

import re

from sandbank.runtime.snapshot.image import MAGICS, entries, varint

COUNT = 65536
_VARINT, _TEXT = 0, 2
_OWNER = re.compile(rb"\b([ug]id)=(\d+)")


def _namespace(base_uid: int) -> bytes:
    """The one entry of a user namespace's image: inner ids from 0 on are `base_uid` and following outside, of users as of groups."""
    extent = b"".join(tag + _varint(number) for tag, number in ((b"\x08", 0), (b"\x10", base_uid), (b"\x18", COUNT)))
    return b"".join(tag + _varint(len(extent)) + extent for tag in (b"\x0a", b"\x12"))


def moved(name: str, image: bytes, old: int, new: int) -> bytes:
    """The image of a user namespace or of its mount points, told by the file's name, moved from the range at `old` to that at `new`."""
    if name.startswith("userns-"):
        return image[:MAGICS] + _entry(_namespace(new))
    return image[:MAGICS] + b"".join(_entry(_moved_options(entry, old, new)) for entry in entries(image))


def _entry(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def _moved_options(message: bytes, old: int, new: int) -> bytes:
    """Mount options are text fields of the message; the kernel shows owners in them as the node's."""

    def move(match: re.Match[bytes]) -> bytes:
        number = int(match[2])
        return b"%s=%d" % (match[1], number - old + new) if old <= number < old + COUNT else match[0]

    out, at = bytearray(), 0
    while at < len(message):
        tag, at = varint(message, at)
        out += _varint(tag)
        number, at = varint(message, at)
        if tag & 7 == _VARINT:
            out += _varint(number)
        elif tag & 7 == _TEXT:
            text = _OWNER.sub(move, message[at : at + number])
            out += _varint(len(text)) + text
            at += number
        else:
            raise OSError(f"a mount point's image has a field of kind {tag & 7}")
    return bytes(out)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
