"""What the node makes of lines from inside a sandbox, where anybody may write them (templates contract §5.2, data-plane contract §11.4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.aiokit.pace import Pace
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.orchestrator.core.log_line import LogOrigin, parse_line
from sandbank.orchestrator.core.log_lines import LineCutter

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
ORIGIN = LogOrigin(LogSubject("team", "isandbox", "template", "build"), NOW - 3600 * SECOND)


def parsed(**values: object) -> LogRecord:
    record = parse_line(json.dumps(values).encode(), ORIGIN, NOW)
    assert record is not None
    return record


def test_a_line_of_the_agents_keeps_its_time_level_message_and_fields() -> None:
    record = parsed(timestamp="2023-11-14T22:13:19.123456789Z", level="debug", message="hi", logger="process", pid=7)
    assert record.timestamp_ns == NOW - SECOND + 123456789
    assert (record.level, record.message, record.fields) == ("debug", "hi", {"logger": "process", "pid": 7})
    assert (record.subject, record.service, record.category) == (ORIGIN.subject, "envd", "default")


@pytest.mark.parametrize(
    "name",
    [
        "teamID",
        "team_id",
        "team.id",
        "sandboxID",
        "sandbox.id",
        "instanceID",
        "envID",
        "env_id",
        "template.id",
        "build.id",
        "service",
        "category",
    ],
)
def test_ids_are_the_nodes_and_never_the_lines(name: str) -> None:
    """§11.4: overwritten, so that nobody writes into another's log."""
    record = parsed(**{name: "forged", "message": "m"})
    assert record.fields == {}
    assert "forged" not in record.line()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"[1]",
        b"1",
        b"null",
        b'{"a":',
        b"\xff\xfe\x00",
        b'{"a":\xff}',
        b"[" * 190_000,
        b'{"a":NaN}',
        b'{"a":1e999}',
        b"1" * 5000,
    ],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    assert parse_line(data, ORIGIN, NOW) is None


@pytest.mark.parametrize(
    "timestamp",
    [
        "1999-01-01T00:00:00Z",
        "2023-11-15T22:13:20Z",
        "2023-11-14T20:00:00Z",
        "2023-02-30T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "now",
        5,
        None,
    ],
)
def test_a_time_that_cannot_be_becomes_the_present(timestamp: object) -> None:
    assert parsed(timestamp=timestamp, message="m").timestamp_ns == NOW


def test_other_zones_and_shorter_fractions_are_understood() -> None:
    assert parsed(timestamp="2023-11-15T00:13:19.5+02:00").timestamp_ns == NOW - SECOND // 2


def test_halves_of_characters_can_be_written_afterwards() -> None:
    record = parse_line(b'{"message":"\\ud83d","\\udc00":"\\ud83d"}', ORIGIN, NOW)
    assert record is not None
    assert (record.message + record.line()).encode()


def test_only_so_many_fields_are_kept() -> None:
    assert len(parsed(**{f"f{number}": number for number in range(500)}).fields) == 64


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text() | st.lists(st.text())).map(
        lambda d: json.dumps(d).encode()
    )
)
def test_nothing_makes_it_raise(data: bytes) -> None:
    record = parse_line(data, ORIGIN, NOW)
    if record is not None:
        assert json.loads(record.line().encode())["sandboxID"] == "isandbox"


def test_lines_come_whole_however_they_are_cut() -> None:
    cutter = LineCutter()
    found = [line for piece in (b"on", b"e\ntw", b"o\n\n  \nthree", b"\n") for line in cutter.feed(piece)]
    assert found == [b"one", b"two", b"three"]


def test_long_lines_are_dropped_and_counted_and_the_next_one_is_found() -> None:
    """§5.1: 192 KiB."""
    cutter = LineCutter(10)
    pieces = (b"x" * 7, b"x" * 7, b"x" * 7, b"\nok\n" + b"y" * 11 + b"\nfine\n")
    assert [line for piece in pieces for line in cutter.feed(piece)] == [b"ok", b"fine"]
    assert cutter.too_long == 2


def test_a_line_of_just_the_limit_passes() -> None:
    assert LineCutter(10).feed(b"x" * 10 + b"\n") == [b"x" * 10]


def test_a_pace_lets_a_burst_through_and_then_its_rate() -> None:
    pace = Pace(rate=10, burst=20)
    assert pace.delay(20, now=100.0) == 0
    assert pace.delay(10, now=100.0) == pytest.approx(1.0)
    assert pace.delay(10, now=100.0) == pytest.approx(2.0)
    assert pace.delay(10, now=200.0) == 0


@pytest.mark.parametrize("field", ["a", "message", "timestamp"])
def test_depth_that_only_just_can_be_read_is_refused(field: str) -> None:
    """What was read with a frame to spare could not be written two calls deeper."""
    origin = LogOrigin(LogSubject("t", "i"), 0)

    def line(depth: int) -> bytes:
        return b'{"%s":%s%s}' % (field.encode(), b"[" * depth, b"]" * depth)

    assert parse_line(line(20), origin, 1) is not None
    assert [parse_line(line(depth), origin, 1) for depth in (33, 500, 900, 5000)] == [None] * 4
