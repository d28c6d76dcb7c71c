"""HTTP/1.1 under fire: what is accepted means the same to other parsers, however it is cut (contract data-plane §7.3, RFC 9112 §11)."""

from __future__ import annotations

import contextlib
import itertools
import re
from urllib.parse import urlsplit

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbank.proxy.body import BodyError, ChunkedBody
from tests.unit.proxy.wireless import Conversation, converse

Seen = list[tuple[bytes, bytes]]


def path_of(target: bytes) -> bytes:
    """The origin form of a target, which the proxy makes of the absolute one."""
    if b"://" not in target or target.startswith(b"/"):
        return target
    parts = urlsplit(target.decode("latin-1"))
    return ((parts.path or "/") + (f"?{parts.query}" if "?" in target.decode("latin-1") else "")).encode("latin-1")


class _Listener:
    def __init__(self) -> None:
        self.seen: Seen = []
        self.parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self._url = b""

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        self.seen.append((self.parser.get_method(), path_of(self._url)))


def read_by_httptools(stream: bytes) -> tuple[Seen, bool]:
    """The requests that llhttp sees, and whether it came to the end without an error."""
    listener = _Listener()
    try:
        listener.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return listener.seen, False
    except httptools.HttpParserError:
        return listener.seen, False
    return listener.seen, True


def read_by_h11(stream: bytes) -> tuple[Seen, bool]:
    """The same of h11."""
    seen: Seen = []
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    parser.receive_data(stream)
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                seen.append((event.method, path_of(event.target)))
            elif event is h11.NEED_DATA:
                return seen, True
            elif event is h11.PAUSED:
                if parser.their_state is not h11.DONE:
                    return seen, False
                if parser.our_state is h11.SEND_RESPONSE:
                    parser.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    parser.send(h11.EndOfMessage())
                if parser.our_state is not h11.DONE:
                    return seen, False
                parser.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return seen, False
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return seen, False


def check(stream: bytes) -> Conversation:
    """What we let through, both others must see in the same order; they may refuse more than we do, never see something else."""
    conversation = converse([stream])
    assert conversation.failures == []
    ours = [(head.method, head.target) for head in conversation.heads]
    for theirs, to_the_end in (read_by_httptools(stream), read_by_h11(stream)):
        common = min(len(ours), len(theirs))
        assert ours[:common] == theirs[:common]
        assert len(theirs) >= len(ours) or not to_the_end
    return conversation


STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]+)", re.MULTILINE)
LINES = [
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"content-length:5",
    b"Content-Length: 05",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length : 5",
    b"Content-Length: 99",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:\tchunked ",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding\t: chunked",
    b"X: y",
    b" folded: x",
    b"X: a\x00b",
    b"X:",
    b": x",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Host: b",
]
BODIES = [
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"05\r\nhello\r\n000\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"ffffffffffffffff\r\nhello",
    b"0\r\n\r\nGET /inner HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
]
REQUEST_LINES = [
    b"GET /%d HTTP/1.1",
    b"POST /%d HTTP/1.1",
    b"POST /%d HTTP/1.0",
    b"GET http://a/%d HTTP/1.1",
    b"GET  /%d HTTP/1.1",
    b"GET /%d HTTP/1.1 ",
    b"GET /%d HTTP/2.0",
    b"GET /%d\tHTTP/1.1",
    b"OPTIONS /%d?x HTTP/1.1",
]
ENDS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\r\n"]

request_lines = st.sampled_from(REQUEST_LINES[:4]) | st.sampled_from(REQUEST_LINES)
ends = st.just(b"\r\n") | st.just(b"\r\n") | st.just(b"\r\n") | st.sampled_from(ENDS)
requests = st.tuples(
    request_lines,
    st.lists(st.tuples(st.sampled_from(LINES), ends), max_size=3),
    ends,
    st.sampled_from(BODIES),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """One to three requests, some of them not quite right."""
    stream = b""
    for number, (line, headers, end, body) in enumerate(draw(st.lists(requests, min_size=1, max_size=3))):
        stream += line % number + draw(ends) + b"Host: a\r\n" + b"".join(header + ending for header, ending in headers) + end + body
    return stream


@settings(max_examples=400, deadline=None)
@given(streams())
def test_other_parsers_see_the_same_requests(stream: bytes) -> None:
    check(stream)


@settings(max_examples=200, deadline=None)
@given(streams(), st.data())
def test_it_does_not_matter_where_the_bytes_are_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges) if end > start]
    whole, cut = converse([stream]), converse(pieces)
    assert [head.target for head in cut.heads] == [head.target for head in whole.heads]
    assert cut.failures == whole.failures == []
    assert STATUS.findall(cut.written) == STATUS.findall(whole.written)  # why one was refused may be said otherwise


VALID = (
    b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n"
    b"PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"\r\nGET http://a/3?x HTTP/1.1\r\nHost: a\r\n\r\n"
)


def test_valid_requests_are_seen_cut_at_every_place() -> None:
    whole = check(VALID)
    assert [head.target for head in whole.heads] == [b"/1", b"/2", b"/3?x"]
    for cut in range(1, len(VALID)):
        assert converse([VALID[:cut], VALID[cut:]]).written == whole.written
    assert converse([bytes([byte]) for byte in VALID]).written == whole.written


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_garbage_ends_the_connection_or_waits_for_more(pieces: list[bytes]) -> None:
    conversation = converse(pieces)
    assert conversation.failures == []
    assert conversation.heads == [] or b"HTTP/1." in b"".join(pieces)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(VALID) - 1), st.binary(max_size=3), st.integers(0, 4))
def test_mutated_requests(position: int, inserted: bytes, removed: int) -> None:
    check(VALID[:position] + inserted + VALID[position + removed :])


CHUNKED = b"5;x=y\r\nhello\r\n000a\r\n0123456789\r\n0\r\nT: x\r\nU: y\r\n\r\n"


@pytest.mark.parametrize("size", range(1, len(CHUNKED)))
def test_a_chunked_body_says_the_same_in_pieces_of_any_size(size: int) -> None:
    body = ChunkedBody()
    payload: list[bytes] = []
    stream = CHUNKED + b"next"
    consumed = 0
    for start in range(0, len(stream), size):
        piece = stream[start : start + size]
        consumed += body.scan(piece, 0, payload)
        if body.done:
            break
    assert (b"".join(payload), body.trailers, consumed) == (b"hello0123456789", [b"T: x", b"U: y"], len(CHUNKED))


@given(
    st.lists(
        st.sampled_from([b"5", b"\r", b"\n", b"\r\n", b"hello", b"0", b";", b"a=b", b" ", b"T: x", b"ffffffffffffffff"])
        | st.binary(max_size=2),
        max_size=14,
    )
)
def test_any_chunked_body_is_refused_or_read_as_llhttp_reads_it(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    body = ChunkedBody()
    payload: list[bytes] = []
    with contextlib.suppress(BodyError):
        body.scan(stream, 0, payload)
    if not body.done:
        return
    read: list[bytes] = []
    complete: list[bool] = []

    class Reader:
        def on_body(self, data: bytes) -> None:
            read.append(data)

        def on_message_complete(self) -> None:
            complete.append(True)

    parser = httptools.HttpRequestParser(Reader())
    with contextlib.suppress(httptools.HttpParserError):  # in what follows the body
        parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + stream)
    assert complete[:1] == [True]
    assert b"".join(read) == b"".join(payload)
