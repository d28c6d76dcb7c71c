"""The agent's lines until somebody takes them (data-plane contract §5.3)."""

from __future__ import annotations

import json
import re

from sandbank.envd.journal import MAX_TEXT, Journal


def lines(data: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in data.splitlines()]


def opened(max_bytes: int = 100_000) -> Journal:
    journal = Journal(max_bytes)
    journal.open(lambda: None)
    return journal


def test_a_line_has_what_the_contract_names() -> None:
    journal = opened()
    journal.write("info", "process", "hello", event_type="process_start", pid=7)
    (line,) = lines(journal.peek(1))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", str(line.pop("timestamp")))
    assert line == {"level": "info", "logger": "process", "message": "hello", "event_type": "process_start", "pid": 7}


def test_a_closed_journal_keeps_nothing() -> None:
    journal = Journal()
    journal.write("info", "x", "y")
    assert journal.is_empty


def test_lines_stay_until_they_are_acknowledged() -> None:
    journal = opened()
    for number in range(5):
        journal.write("info", "x", str(number))
    first = journal.peek(250)
    assert journal.peek(250) == first
    journal.acknowledge()
    journal.write("info", "x", "5")
    rest = journal.peek(100_000)
    assert [line["message"] for line in lines(first) + lines(rest)] == ["0", "1", "2", "3", "4", "5"]
    journal.acknowledge()
    assert journal.is_empty


def test_the_oldest_make_room_and_are_counted_in_a_line() -> None:
    journal = opened(1000)
    for number in range(100):
        journal.write("info", "x", str(number))
    found = lines(journal.peek(100_000))
    assert found[0]["message"] == "log lines were dropped"
    assert found[0]["dropped"] == 100 - (len(found) - 1)
    assert found[-1]["message"] == "99"


def test_an_acknowledgement_takes_no_line_that_was_not_sent() -> None:
    journal = opened(1000)
    for number in range(5):
        journal.write("info", "x", str(number))
    journal.peek(100_000)
    for number in range(5, 100):
        journal.write("info", "x", str(number))
    journal.acknowledge()
    assert lines(journal.peek(100_000))[-1]["message"] == "99"
    assert len(lines(journal.peek(100_000))) > 5


def test_long_texts_are_cut() -> None:
    journal = opened()
    journal.write("info", "x", "m" * 10_000, command="c" * 10_000)
    (line,) = lines(journal.peek(1))
    assert (line["message"], line["command"]) == ("m" * MAX_TEXT, "c" * MAX_TEXT)
