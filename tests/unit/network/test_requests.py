"""Requests told apart as no server could tell them otherwise (rest-api §10.2; RFC 9112)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.runtime.network.egress.requests import AmbiguousRequestError, Head, RequestReader, parse_head

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((first, *lines, b"", b""))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (GET, "a.test"),
        (head(b"host:A.Test.:8080"), "a.test"),
        (head(b"Host: a.test", first=b"GET http://a.test/x HTTP/1.1"), "a.test"),
        (head(b"Host: a.test", first=b"OPTIONS * HTTP/1.1"), "a.test"),
        (head(first=b"GET / HTTP/1.0"), None),
        (head(), None),
        (head(b"Host:"), None),
        (head(b"Host: 198.51.100.7"), None),
        (head(b"Host: [::1]"), None),
        (head(b"Host: 0x7f.1"), None),
        (head(b"Host: a.test:80x"), None),
        (head(b"Host: user@a.test"), None),
        (head(b"Host: a.test, b.test"), None),
        (head("Host: ä.test".encode()), None),
    ],
)
def test_names(raw: bytes, name: str | None) -> None:
    assert parse_head(raw).name == name


@pytest.mark.parametrize(
    "raw",
    [
        head(b"Host: a.test", b"host: b.test"),
        head(b"Host: a.test", first=b"GET http://b.test/ HTTP/1.1"),
        head(b"Host: a.test", first=b"GET http://b.test@a.test/ HTTP/1.1"),
        head(b"Host: a.test", first=b"GET https://a.test/ HTTP/1.1"),
        head(b"Host: a.test:1", first=b"GET http://a.test/ HTTP/1.1"),
        head(b"Host: a.test", first=b"CONNECT a.test:443 HTTP/1.1"),
        head(b"Host: a.test", first=b"GET  / HTTP/1.1"),
        head(b"Host: a.test", first=b"GET / HTTP/2.0"),
        head(b"Host: a.test", first=b"GET / HTTP/1.1 "),
        head(b"Host: a.test", first=b"get / HTTP/1.1"),
        head(b"Host: a.test", first=b"GET /\t HTTP/1.1"),
        head(b" Host: a.test"),
        head(b"X: 1", b" folded"),
        head(b"Host : a.test"),
        head(b"Host: a.test\nX: y"),
        head(b"Host: a.test\rX: y"),
        head(b"Host: a\0.test"),
        head(b"no colon"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(AmbiguousRequestError):
        parse_head(raw)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 1", b"Content-Length: 1"),
        (b"Content-Length: 1, 1",),
        (b"Content-Length: -1",),
        (b"Content-Length: 0x1",),
        (b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding:",),
        (b"Upgrade: websocket", b"Content-Length: 5"),
    ],
)
def test_bodies_without_one_length_are_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(AmbiguousRequestError):
        RequestReader().feed(head(b"Host: a.test", *lines, first=b"POST / HTTP/1.1"))
    with pytest.raises(AmbiguousRequestError):
        RequestReader().feed(head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"))


CHUNKED = head(b"Host: a.test", b"Transfer-Encoding: Chunked", first=b"POST / HTTP/1.1")


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"5\r\nhelloX\r\n", b"5\nhello\r\n", b" 5\r\n", b"\r\n", b"0\r\nno trailer\r\n\r\n", b"-1\r\n", b"5;\0\r\n"]
)
def test_chunks_of_the_wrong_shape_are_refused(body: bytes) -> None:
    with pytest.raises(AmbiguousRequestError):
        RequestReader().feed(CHUNKED + body)


def test_endless_heads_and_lines_are_refused() -> None:
    with pytest.raises(AmbiguousRequestError):
        RequestReader().feed(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
    with pytest.raises(AmbiguousRequestError):
        RequestReader().feed(CHUNKED + b"5;" + b"x" * 5000)


STREAM = (
    GET
    + head(b"Host: b.test", b"Content-Length: 33", first=b"PUT /x HTTP/1.1")
    + GET
    + CHUNKED
    + b"5;x=y\r\nhello\r\n1F\r\n"
    + GET[:31]
    + b"\r\n0\r\nT: x\r\n\r\n"
    + GET
)


@given(st.lists(st.integers(1, 50), max_size=50))
def test_any_cut_gives_the_same_requests_and_every_byte_back(cuts: list[int]) -> None:
    reader, pieces, at = RequestReader(), [], 0
    for size in [*cuts, len(STREAM)]:
        pieces += reader.feed(STREAM[at : at + size])
        at += size
    assert [piece.name for piece in pieces if isinstance(piece, Head)] == ["a.test", "b.test", "a.test", "a.test"]
    assert b"".join(piece.raw if isinstance(piece, Head) else piece for piece in pieces) == STREAM
    assert not reader.is_amid


def test_a_head_of_nothing_but_headers_is_refused() -> None:
    """Eight thousand of them fit into the size, and looking at each takes milliseconds that all sandboxes share."""
    assert parse_head(head(b"Host: a.test", *[b"a:"] * 200)).name == "a.test"
    with pytest.raises(AmbiguousRequestError, match="too many"):
        parse_head(head(b"Host: a.test", *[b"a:"] * 300))


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    for start in (b"", GET, CHUNKED):
        try:
            RequestReader().feed(start + data)
        except AmbiguousRequestError:
            continue
