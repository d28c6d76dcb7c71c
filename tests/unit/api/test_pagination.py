"""Pages cover everything once, in the contract's order."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.api.core.pagination import Cursor, decode_cursor, encode_cursor, in_order, page, rfc3339
from sandbank.domain.errors import InvalidError
from sandbank.domain.sandbox import Sandbox
from tests.unit.api.made import NOON, sandbox

SANDBOXES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), unique_by=lambda pair: pair[1], max_size=20).map(
    lambda pairs: [sandbox(f"i{number:02}", started_at=NOON + timedelta(microseconds=shift)) for shift, number in pairs]
)


def test_token_is_the_contracts() -> None:
    token = encode_cursor(Cursor(NOON + timedelta(microseconds=123400), "iabc"), ascending=True)
    assert base64.urlsafe_b64decode(token) == b"2026-11-22T12:00:00.1234Z__iabc__asc"
    assert rfc3339(NOON) == "2026-11-22T12:00:00Z"


@given(st.integers(0, 10**12), st.booleans())
def test_tokens_survive(microseconds: int, ascending: bool) -> None:
    cursor = Cursor(NOON + timedelta(microseconds=microseconds), "iabc")
    assert decode_cursor(encode_cursor(cursor, ascending=ascending), ascending=ascending) == cursor


@pytest.mark.parametrize("token", ["", "x", "!!!!", "YWJj", base64.urlsafe_b64encode(b"now__i1").decode(), "é"])
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidError, match="Invalid next token"):
        decode_cursor(token, ascending=False)


def test_a_token_is_for_one_order() -> None:
    token = encode_cursor(Cursor(NOON, "i1"), ascending=True)
    with pytest.raises(InvalidError):
        decode_cursor(token, ascending=False)


@given(SANDBOXES, st.integers(1, 5), st.booleans())
def test_pages_are_the_whole(sandboxes: list[Sandbox], limit: int, ascending: bool) -> None:
    rows = in_order(sandboxes, ascending=ascending)
    seen: list[Sandbox] = []
    cursor = None
    while True:
        chosen, cursor = page(rows, cursor, limit, ascending=ascending)
        seen += chosen
        if cursor is None:
            break
        cursor = decode_cursor(encode_cursor(cursor, ascending=ascending), ascending=ascending)
    assert seen == rows


def test_order_is_newest_first_then_by_id() -> None:
    rows = [sandbox("ib"), sandbox("ia"), sandbox("ic", started_at=NOON + timedelta(seconds=1))]
    assert [row.sandbox_id for row in in_order(rows, ascending=False)] == ["ic", "ia", "ib"]
    assert [row.sandbox_id for row in in_order(rows, ascending=True)] == ["ib", "ia", "ic"]
