"""Where bodies end, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.proxy.body import LINES_PER_SCAN, Body, BodyError, ChunkedBody, LengthBody


def _feed(body: Body, data: bytes, cuts: list[int]) -> tuple[int, bytes]:
    """How many bytes the body took, and what it said, when `data` comes in pieces."""
    payload: list[bytes] = []
    taken = 0
    edges = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(edges):
        if body.done:
            break
        taken += body.scan(data[start:end], 0, payload)
    return taken, b"".join(payload)


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    st.binary(max_size=10),
    st.lists(st.integers(0, 500), max_size=10),
    st.booleans(),
)
def test_a_chunked_body_ends_where_it_ends(chunks: list[bytes], rest: bytes, cuts: list[int], trailer: bool) -> None:
    framed = (
        b"".join(b"%X;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + (b"X-T: 1\r\n" if trailer else b"") + b"\r\n"
    )
    body = ChunkedBody()
    taken, said = _feed(body, framed + rest, cuts)
    assert body.done
    assert taken == len(framed)
    assert said == b"".join(chunks)


@given(st.binary(max_size=50), st.binary(max_size=10), st.lists(st.integers(0, 100), max_size=5))
def test_a_counted_body_ends_where_it_ends(content: bytes, rest: bytes, cuts: list[int]) -> None:
    body = LengthBody(len(content))
    taken, said = _feed(body, content + rest, cuts)
    assert body.done
    assert (taken, said) == (len(content), content)


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"0x5\r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"5_0\r\n",
        b"1234567890123456\r\n",
        b"\r\n",
        b"5\n",
        b"5\rx\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\rX",
        b"0\r\nContent-Length: 5\r\n",
        b"0\r\nnonsense\r\n",
        b"0\r\n X: 1\r\n",
        b"0\r\nX: a\0\r\n",
        b"5;" + b"x" * 5000,
        b"0\r\nX: " + b"y" * 70000,
    ],
)
@pytest.mark.parametrize("byte_wise", [True, False])
def test_broken_chunks(data: bytes, byte_wise: bool) -> None:
    body = ChunkedBody()
    with pytest.raises(BodyError):
        _feed(body, data, list(range(len(data))) if byte_wise and len(data) < 100 else [])


@given(st.integers(0, 2000), st.lists(st.integers(0, 20_000), max_size=4))
def test_a_scan_does_a_bounded_number_of_lines_and_the_next_one_goes_on(chunks: int, cuts: list[int]) -> None:
    framed = b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
    body = ChunkedBody()
    said: list[bytes] = []
    for start, end in pairwise(sorted({cut % (len(framed) + 1) for cut in cuts} | {0, len(framed)})):
        position = start
        while position < end:
            before = position
            position = body.scan(framed[:end], position, said)
            assert before < position <= before + 6 * LINES_PER_SCAN
    assert body.done
    assert b"".join(said) == b"x" * chunks
