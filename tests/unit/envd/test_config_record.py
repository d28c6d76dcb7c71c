"""What one agent leaves for the next (data-plane contract §4.8)."""

from __future__ import annotations

import json

import pytest

from sandbank.envd.config_record import _HEADER, ConfigRecord, _checksum

_FIELDS = {"sandbox_id": "i1", "access_token": None, "env_vars": {"A": "ä\n"}, "ca_bundle": None}


def test_the_newest_record_is_read_and_none_is_empty() -> None:
    record = ConfigRecord(4096)
    assert record.read() == {}
    for number in range(5):
        record.write({**_FIELDS, "sandbox_id": f"i{number}"})
        assert record.read() == {**_FIELDS, "sandbox_id": f"i{number}"}


def test_a_record_that_was_not_finished_leaves_the_one_before() -> None:
    record = ConfigRecord(4096)
    record.write(_FIELDS)
    before = record._memory[:]
    record.write({**_FIELDS, "sandbox_id": "i2"})
    after = record._memory[:]
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    for at in changed:
        record._memory[:] = after[:at] + before[at : at + 1] + after[at + 1 :]
        assert record.read() == _FIELDS
        record.write({**_FIELDS, "sandbox_id": "i3"})
        assert record.read()["sandbox_id"] == "i3"


def test_what_is_too_much_is_refused_and_changes_nothing() -> None:
    record = ConfigRecord(4096)
    record.write(_FIELDS)
    with pytest.raises(OSError, match="more than can be kept"):
        record.write({"env_vars": {"A": "x" * 4096}})
    assert record.read() == _FIELDS


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[" * 3000,
        b"[]",
        *(json.dumps(fields).encode() for fields in ({"sandbox_id": None}, {"memory_limit_bytes": 1}, {"access_token": 1})),
        b'{"env_vars": null}',
        b'{"env_vars": []}',
        b'{"env_vars": {"A": 1}}',
    ],
)
def test_what_makes_no_sense_is_as_good_as_nothing(text: bytes) -> None:
    record = ConfigRecord(4096)
    _put(record, 2**63, text)
    assert record.read() == {}


def test_no_number_keeps_the_next_from_being_written() -> None:
    record = ConfigRecord(4096)
    for number in (2**64 - 1, 2**64 - 2):
        _put(record, number, b"{}")
        record.write(_FIELDS)


def _put(record: ConfigRecord, number: int, text: bytes) -> None:
    header = _HEADER.pack(number, len(text), _checksum(number, text))
    record._memory[: len(header) + len(text)] = header + text
