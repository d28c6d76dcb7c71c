"""How ends are told."""

from __future__ import annotations

import pytest

from sandbank.envd.process.status import end_event


@pytest.mark.parametrize(
    ("wait_status", "exit_code", "exited", "status", "has_error"),
    [
        (0, 0, True, "exit status 0", False),
        (3 << 8, 3, True, "exit status 3", True),
        (9, -1, False, "signal: killed", True),
        (15, -1, False, "signal: terminated", True),
        (11 | 0x80, -1, False, "signal: segmentation fault (core dumped)", True),
        (40, -1, False, "signal: signal 40", True),
    ],
)
def test_every_way(wait_status: int, exit_code: int, exited: bool, status: str, has_error: bool) -> None:
    event = end_event(wait_status)
    assert (event.exit_code, event.exited, event.status) == (exit_code, exited, status)
    assert event.HasField("error") is has_error
    assert event.error == (status if has_error else "")
