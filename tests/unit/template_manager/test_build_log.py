"""Build logs: pages that never move, and bounds whatever commands print (templates contract §1.6, §1.7)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandbank.template_manager.core.build_log import DEBUG, ERROR, INFO, WARN, BuildLog, LogEntry, LogPage, StepOutput


def _log() -> tuple[BuildLog, list[LogEntry]]:
    heard: list[LogEntry] = []
    return BuildLog(heard.append), heard


def _said(log: BuildLog) -> list[str]:
    return [entry.message for entry in log.page(LogPage(limit=1 << 20))]


def test_lines_are_in_the_order_of_their_times_and_heard_as_they_come() -> None:
    log, heard = _log()
    for number in range(100):
        log.write(INFO, str(number))
    found = log.page(LogPage(limit=1000))
    assert list(found) == heard
    times = [entry.timestamp_ns for entry in found]
    assert times == sorted(set(times))


def test_the_offset_counts_lines_of_the_level_asked_for() -> None:
    log, _ = _log()
    for number in range(20):
        log.write((DEBUG, INFO, WARN, ERROR)[number % 4], str(number))
    assert [entry.message for entry in log.page(LogPage(offset=1, limit=3, level=WARN))] == ["3", "6", "7"]
    assert [entry.message for entry in log.page(LogPage(limit=2, level=ERROR, backward=True))] == ["19", "15"]
    first = log.page(LogPage(limit=1))[0].timestamp_ns
    assert len(log.page(LogPage(start_ns=first + 1))) == 19
    assert len(log.page(LogPage(end_ns=first))) == 1


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40)), max_size=30))
def test_however_output_comes_in_pieces_its_lines_are_the_same(pieces: list[tuple[str, bytes]]) -> None:
    whole, _ = _log()
    torn, _ = _log()
    at_once, in_pieces = StepOutput(whole, "[x]", {}), StepOutput(torn, "[x]", {})
    for name in ("stdout", "stderr"):
        at_once(name, b"".join(data for stream, data in pieces if stream == name))
    for stream, data in pieces:
        for byte in data:
            in_pieces(stream, bytes([byte]))
    at_once.close()
    in_pieces.close()
    assert sorted(_said(whole)) == sorted(_said(torn))


def test_of_a_line_that_is_written_over_the_last_state_counts_and_empty_ones_do_not() -> None:
    log, _ = _log()
    output = StepOutput(log, "[builder 1/1]", {"step": "1"})
    output("stdout", b" 1%\r 50%\r100%\r\n\n   \nend")
    output.close()
    assert _said(log) == ["[builder 1/1] [stdout]: 100%", "[builder 1/1] [stdout]: end"]


def test_a_flood_is_cut_and_its_last_lines_are_kept() -> None:
    log, _ = _log()
    output = StepOutput(log, "[x]", {})
    for number in range(30_000):
        output("stdout", f"{number}\n".encode())
    output.close()
    said = _said(log)
    assert len(said) == 10_000 + 1 + 50
    assert said[10_000] == "[x]: 19950 lines of output are left out"
    assert said[-1] == "[x] [stdout]: 29999"
    assert output.tail[-1] == "29999"


def test_a_line_without_end_is_broken_up_and_takes_no_memory() -> None:
    log, _ = _log()
    output = StepOutput(log, "[x]", {})
    for _ in range(2000):
        output("stdout", b"x" * 10_000)
    output.close()
    said = _said(log)
    assert sum(map(len, said)) < 3 << 20
    assert max(map(len, said)) <= 4096


def test_what_is_no_text_is_shown_all_the_same() -> None:
    log, _ = _log()
    output = StepOutput(log, "[x]", {})
    output("stderr", b"\xff\xfe\0 end\n")
    assert _said(log)[0].endswith("end")
