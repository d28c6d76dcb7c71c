"""Heads: what is accepted means the same to another parser."""

from __future__ import annotations

import contextlib

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.proxy.head import HeadError, find_response_end, parse_request_head, parse_response_head

_NAMES = st.sampled_from(
    ["Host", "Content-Length", "Transfer-Encoding", "Connection", "X-A", "Accept", " X", "X ", "", "X:Y", "Upgrade", "content-length"]
)
_VALUES = st.one_of(
    st.sampled_from(
        ["5", "05", "+5", "5,5", "chunked", "Chunked", "gzip, chunked", "close", "keep-alive", "a.b", "h2c", "\x0b5", "5 ", "\t"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=12),
)
_TARGETS = st.one_of(
    st.sampled_from(["/", "/a?b", "*", "http://a.b/", "a", "", "/a b", "//x"]), st.text(st.characters(max_codepoint=255), max_size=12)
)


@st.composite
def _request_heads(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "OPTIONS", "get", "G T", ""]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1"]))
    lines = [f"{method} {draw(_TARGETS)} {version}"]
    lines += [
        f"{name}{draw(st.sampled_from([':', ': ', ' :', '']))}{value}"
        for name, value in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=5))
    ]
    return draw(st.sampled_from(["\r\n", "\r\n", "\n", "\r"])).join(lines).encode("latin-1")


class _Witness:
    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@given(_request_heads())
def test_what_is_accepted_another_parser_frames_alike(block: bytes) -> None:
    try:
        head = parse_request_head(block)
    except HeadError:
        return
    if head.method != b"GET" or not head.target.isascii() or b"upgrade" in head.fields:
        return  # the other parser is pickier here, or stops on purpose
    body = b"3\r\nabc\r\n0\r\n\r\n" if head.chunked else b"x" * min(head.content_length, 100)
    witness = _Witness()
    httptools.HttpRequestParser(witness).feed_data(block + b"\r\n\r\n" + body)
    assert [name for name, _ in witness.headers] == head.names
    assert witness.complete == (1 if head.chunked or head.content_length <= 100 else 0)
    assert witness.body == (b"abc" if head.chunked else body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_an_error(block: bytes) -> None:
    for parse in (parse_request_head, parse_response_head):
        with contextlib.suppress(HeadError):
            parse(block)


def test_an_absolute_target_becomes_the_path_when_it_names_the_host() -> None:
    assert parse_request_head(b"GET http://a.b:1/x?y HTTP/1.1\r\nHost: a.b:1").target == b"/x?y"
    assert parse_request_head(b"GET http://a.b?y HTTP/1.1\r\nHost: a.b").target == b"/?y"
    with pytest.raises(HeadError):
        parse_request_head(b"GET http://a.b@c/ HTTP/1.1\r\nHost: a.b")


def test_connection_options() -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x-a\r\nConnection: CLOSE\r\nUpgrade: websocket")
    assert head.connection == {b"upgrade", b"x-a", b"close"}
    assert not head.keep_alive
    assert head.upgrade == b"websocket"
    assert parse_request_head(b"GET / HTTP/1.0\r\nConnection: keep-alive").keep_alive
    assert not parse_request_head(b"GET / HTTP/1.0").keep_alive


def test_a_response_wins_framing_by_its_coding() -> None:
    head = parse_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")
    assert head.chunked
    assert head.content_length is None


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", b"HTTP/1.1 200 OK\nA: b\n\nbody", b"HTTP/1.1 200 OK\nA: b\r\n\r\nbody"]
)
def test_a_responses_end_is_found_with_either_line_end(data: bytes) -> None:
    found = find_response_end(data)
    assert found is not None
    end, start = found
    assert data[start:] == b"body"
    head = parse_response_head(data[:end])
    assert (head.status, head.lines) == (200, [b"A: b"])


@pytest.mark.parametrize(
    "block", [b"HTTP/1.1 20 OK", b"HTTP/2 200", b"ICY 200 OK", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1", b""]
)
def test_responses_that_are_none(block: bytes) -> None:
    with pytest.raises(HeadError):
        parse_response_head(block)
