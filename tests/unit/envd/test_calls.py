"""Headers that steer a call (data-plane contract §1.5)."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.envd.connect.calls import MAX_KEEPALIVE_SECONDS, Call, deadline_of
from sandbank.envd.transport.body import RequestBody
from sandbank.envd.transport.request import Request


def request_with(**headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/", named, "1.1", True, RequestBody(lambda: None, lambda: None))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50", 50),
        (" 7 ", 7),
        ("+7", 7),
        ("0", 1),
        ("-5", 1),
        ("", 90),
        ("soon", 90),
        ("1.5", 90),
        ("٣", 90),
        ("9" * 18, MAX_KEEPALIVE_SECONDS),
        ("9" * 5000, 90),
    ],
)
def test_keepalive_intervals_are_clamped_and_nonsense_is_ninety(text: str, seconds: int) -> None:
    assert Call(request_with(keepalive_ping_interval=text), None).keepalive_seconds == seconds


def test_keepalive_without_a_header_is_ninety() -> None:
    assert Call(request_with(), None).keepalive_seconds == 90


@pytest.mark.parametrize("text", ["soon", "1.5", "-1", "+1", "12345678901", "٣", "1 0", "1" * 100_000])
async def test_a_timeout_that_is_no_number_of_ten_digits_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError, match="is not a valid timeout") as caught:
        deadline_of(request_with(connect_timeout_ms=text))
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("headers", [{}, {"connect_timeout_ms": ""}])
async def test_without_a_timeout_there_is_no_deadline(headers: dict[str, str]) -> None:
    assert deadline_of(request_with(**headers)) is None
