"""Records that were decoded before."""

from __future__ import annotations

import pytest

from sandbank.domain.sandbox import Sandbox
from sandbank.state import decoded_records
from sandbank.state.decoded_records import DecodedRecords
from sandbank.state.sandbox_codec import decode, encode
from tests.unit.api.made import sandbox


def text(sandbox_id: str, note: str = "") -> bytes:
    return encode(sandbox(sandbox_id, metadata={"note": note})).encode()


def test_the_same_text_is_decoded_once_and_a_changed_one_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def counted(one: bytes) -> Sandbox:
        decoded.append(one)
        return decode(one)

    monkeypatch.setattr(decoded_records, "decode", counted)
    records = DecodedRecords()
    assert records.of(text("i1")) is records.of(text("i1"))
    assert records.of(text("i1", "changed")).metadata == {"note": "changed"}
    assert decoded == [text("i1"), text("i1", "changed")]


def test_what_is_kept_is_bounded_and_the_least_used_goes() -> None:
    size = len(text("i1"))
    records = DecodedRecords(most_bytes=2 * size)
    first, second = records.of(text("i1")), records.of(text("i2"))
    assert records.of(text("i1")) is first
    records.of(text("i3"))
    assert records.of(text("i1")) is first
    assert records.of(text("i2")) is not second
    records.of(text("i4", "x" * 3 * size))
    assert records._bytes == sum(map(len, records._kept)) <= 2 * size
