"""Images of one range of uids become those of another."""

from __future__ import annotations

from sandbank.runtime.snapshot import uid_range

_MAGICS = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def _entry(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def _mount(options: bytes) -> bytes:
    """`mnt_entry` as far as it matters here: a number of one byte, one of two, a text, another."""
    return b"\x08\x01" + b"\x10\xac\x02" + b"\x32" + bytes([len(options)]) + options + b"\x18\x05"


def test_a_user_namespace_gets_the_new_range_for_users_and_groups() -> None:
    changed = uid_range.moved("userns-9.img", _MAGICS + b"whatever", 100, 300)
    extent = b"\x08\x00\x10\xac\x02\x18\x80\x80\x04"
    expected = b"".join(tag + bytes([len(extent)]) + extent for tag in (b"\x0a", b"\x12"))
    assert changed == _MAGICS + _entry(expected)


def test_owners_in_mount_options_move_and_nothing_else() -> None:
    image = _MAGICS + _entry(_mount(b"mode=620,gid=200005,uid=200000,size=200005k")) + _entry(_mount(b"gid=5,uid=99"))
    changed = uid_range.moved("mountpoints-1.img", image, 200_000, 1_000_000_000)
    moved = _mount(b"mode=620,gid=1000000005,uid=1000000000,size=200005k")
    assert changed == _MAGICS + _entry(moved) + _entry(_mount(b"gid=5,uid=99"))


def test_a_move_to_the_same_range_changes_nothing() -> None:
    image = _MAGICS + _entry(_mount(b"gid=200005"))
    assert uid_range.moved("mountpoints-1.img", image, 200_000, 200_000) == image
