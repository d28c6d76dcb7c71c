"""TypeIDs (rest-api contract §4.1)."""

from __future__ import annotations

import time
import uuid

import pytest

from sandbank.domain import type_id


def test_the_specifications_own_examples() -> None:
    value = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert type_id.encode("prefix", value) == "prefix_01h455vb4pex5vsknk084sn02q"
    assert type_id.decode("prefix", "prefix_01h455vb4pex5vsknk084sn02q") == value
    assert type_id.encode("x", uuid.UUID(int=2**128 - 1)) == "x_7zzzzzzzzzzzzzzzzzzzzzzzzz"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sec_",
        "sec_01h455vb4pex5vsknk084sn02",
        "sec_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "sec_01h455vb4pex5vsknk084sn02u",
        "tok_01h455vb4pex5vsknk084sn02q",
    ],
)
def test_what_is_none(text: str) -> None:
    assert type_id.decode("sec", text) is None


def test_fresh_ones_are_version_7_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    made = type_id.new_uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert type_id.new_uuid7() != made
