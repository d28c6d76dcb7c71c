"""Log lines as they are kept and shown (rest-api contract §13, templates contract §5.4)."""

from __future__ import annotations

import json

import pytest

from sandbank.domain.log_query import LogEntry, LogQuery
from sandbank.domain.log_record import LogRecord, LogSubject, flatten, level_of, rfc3339_nano

SUBJECT = LogSubject("team", "isandbox", "template", "build")


def test_a_line_names_its_sandbox_and_has_what_the_command_line_parses() -> None:
    record = LogRecord(1_700_000_000_123_456_789, SUBJECT, "envd", "warn", "hello", {"logger": "process", "pid": 7, "teamID": "forged"})
    line = json.loads(record.line())
    assert line == {
        "timestamp": "2023-11-14T22:13:20.123456789Z",
        "level": "warn",
        "message": "hello",
        "logger": "process",
        "pid": 7,
        "service": "envd",
        "category": "default",
        "teamID": "team",
        "envID": "template",
        "buildID": "build",
        "sandboxID": "isandbox",
        "instanceID": "isandbox",
    }


def test_fields_are_flat_texts() -> None:
    values = {"text": "a", "number": 1, "ratio": 0.5, "truth": True, "none": None, "list": [1], "object": {"a": 1}}
    assert flatten(values) == {"text": "a", "number": "1", "ratio": "0.5", "truth": "true"}


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("WARN", "warn"),
        ("warning", "warn"),
        ("fatal", "error"),
        ("trace", "debug"),
        ("", "info"),
        (None, "info"),
        (3, "info"),
        ("loud", "info"),
    ],
)
def test_levels_are_the_four_of_the_contract(said: object, level: str) -> None:
    assert level_of(said) == level


def test_times_have_nine_digits() -> None:
    assert rfc3339_nano(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def test_an_entry_has_message_and_level_apart_from_its_fields() -> None:
    entry = LogEntry.of_line(5, '{"level":"WARN","message":"m","logger":"l","pid":7,"deep":{"a":1}}')
    assert (entry.level, entry.message) == ("warn", "m")
    assert entry.fields == {"logger": "l", "pid": "7", "timestamp": ""}


@pytest.mark.parametrize("line", ["plain text", "[1]", "[" * 100_000, '{"level":'])
def test_a_line_that_is_no_object_becomes_one(line: str) -> None:
    entry = LogEntry.of_line(5, line)
    assert json.loads(entry.line) == {"level": "info", "message": line, "logger": "", "timestamp": ""}


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        (None, None),
        ("error", ("error",)),
        ("warn", ("warn", "error")),
        ("info", ("", "info", "warn", "error")),
        ("debug", ("", "debug", "info", "warn", "error")),
    ],
)
def test_a_minimum_level_includes_those_above_it(level: str | None, levels: tuple[str, ...] | None) -> None:
    """§5.5."""
    assert LogQuery(SUBJECT, 0, 1, 1, min_level=level).levels == levels
