"""Requests of HTTP/2 written down in HTTP/1.1: nothing may be smuggled on that way (contract data-plane §7.3, RFC 9113 §10.3)."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbank.proxy.head import HeadError, parse_response_head
from sandbank.proxy.http2.translation import (
    Header,
    MalformedError,
    page_headers,
    request_head,
    request_headers,
    response_head,
    response_headers,
    trailer_lines,
)
from sandbank.proxy.page import plain
from sandbank.proxy.rewrite import rewrite_request

BASE: list[Header] = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"80-iabc.localhost"), (b":path", b"/a?b")]


def changed(**pseudo: bytes | None) -> list[Header]:
    """The base request with other pseudo-headers; None leaves one out."""
    values = {name.decode()[1:]: value for name, value in BASE} | pseudo
    return [(b":" + name.encode(), value) for name, value in values.items() if value is not None]


def test_a_request_as_it_should_be() -> None:
    head = request_head([*BASE, (b"x", b"y"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers")], ended=False)
    assert head.block == (
        b"POST /a?b HTTP/1.1\r\nhost: 80-iabc.localhost\r\nx: y\r\nte: trailers\r\ncookie: a=1; b=2\r\ntransfer-encoding: chunked"
    )
    assert (head.method, head.target, head.host, head.chunked) == (b"POST", b"/a?b", b"80-iabc.localhost", True)
    assert request_head([*BASE, (b"content-length", b"5")], ended=False).content_length == 5
    assert request_head(changed(method=b"OPTIONS", path=b"*"), ended=True).target == b"*"
    assert request_head([*changed(authority=None), (b"host", b"a.b")], ended=True).host == b"a.b"


MALFORMED: dict[str, list[Header]] = {
    "line feed in a value": [*BASE, (b"x", b"a\nTransfer-Encoding: chunked")],
    "carriage return in a value": [*BASE, (b"x", b"a\rb")],
    "both in a value": [*BASE, (b"x", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\n")],
    "null in a value": [*BASE, (b"x", b"a\0b")],
    "line break in a name": [*BASE, (b"x\r\ny", b"z")],
    "colon in a name": [*BASE, (b"transfer-encoding: chunked\r\nx", b"y")],
    "another colon in a name": [*BASE, (b"x:y", b"z")],
    "space in a name": [*BASE, (b"x ", b"z")],
    "upper case in a name": [*BASE, (b"X", b"z")],
    "empty name": [*BASE, (b"", b"z")],
    "space around a value": [*BASE, (b"x", b" z")],
    "tab around a value": [*BASE, (b"content-length", b"\t5")],
    "coding": [*BASE, (b"transfer-encoding", b"chunked")],
    "coding in capitals": [*BASE, (b"Transfer-Encoding", b"chunked")],
    "connection": [*BASE, (b"connection", b"content-length")],
    "keep-alive": [*BASE, (b"keep-alive", b"x")],
    "proxy-connection": [*BASE, (b"proxy-connection", b"x")],
    "upgrade": [*BASE, (b"upgrade", b"websocket")],
    "te": [*BASE, (b"te", b"chunked")],
    "pseudo-header behind a field": [BASE[0], (b"x", b"y"), *BASE[1:]],
    "pseudo-header behind a cookie": [BASE[0], (b"cookie", b"y"), *BASE[1:]],
    "pseudo-header twice": [*BASE, (b":path", b"/b")],
    "pseudo-header of an answer": [*BASE, (b":status", b"200")],
    "unknown pseudo-header": [*BASE, (b":x", b"y")],
    "no method": changed(method=None),
    "empty method": changed(method=b""),
    "request line in the method": changed(method=b"GET / HTTP/1.1\r\nX: y"),
    "space in the method": changed(method=b"GET /x"),
    "no path": changed(path=None),
    "empty path": changed(path=b""),
    "absolute path": changed(path=b"http://other/"),
    "path without a slash": changed(path=b"x/y"),
    "star for a GET": changed(path=b"*", method=b"GET"),
    "line break in the path": changed(path=b"/ HTTP/1.1\r\nX: y"),
    "null in the path": changed(path=b"/\0"),
    "no scheme": changed(scheme=None),
    "other scheme": changed(scheme=b"ftp"),
    "no host": changed(authority=None),
    "another host": [*BASE, (b"host", b"other")],
    "two hosts": [*changed(authority=None), (b"host", b"a"), (b"host", b"b")],
    "line break in the authority": changed(authority=b"a\r\nx: y"),
    "protocol of a POST": [*BASE, (b":protocol", b"websocket")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_no_requests(name: str) -> None:
    with pytest.raises(MalformedError):
        request_head(MALFORMED[name], ended=False)


REFUSED: dict[str, list[Header]] = {
    "space in the path": changed(path=b"/ HTTP/1.1"),
    "fragment": changed(path=b"/#x"),
    "user in the authority": changed(authority=b"user@a.b"),
    "path in the authority": changed(authority=b"a.b/c"),
    "space in the authority": changed(authority=b"a b"),
    "two lengths": [*BASE, (b"content-length", b"5"), (b"content-length", b"6")],
    "the same length twice": [*BASE, (b"content-length", b"5"), (b"content-length", b"5")],
    "signed length": [*BASE, (b"content-length", b"+5")],
    "list of lengths": [*BASE, (b"content-length", b"5, 5")],
    "empty length": [*BASE, (b"content-length", b"")],
    "expectation twice": [*BASE, (b"expect", b"100-continue"), (b"expect", b"100-continue")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_requests_are_refused(name: str) -> None:
    with pytest.raises(HeadError) as refused:
        request_head(REFUSED[name], ended=False)
    assert refused.value.status == 400


def test_a_length_without_a_body_is_malformed() -> None:
    with pytest.raises(MalformedError):
        request_head([*BASE, (b"content-length", b"5")], ended=True)
    assert request_head([*BASE, (b"content-length", b"0")], ended=True).content_length == 0


def test_tunnels() -> None:
    """RFC 8441, and no other CONNECT."""
    tunnel = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *BASE[1:]]
    head = request_head([*tunnel, (b"sec-websocket-key", b"mine")], ended=False)
    assert (head.method, head.upgrade, head.chunked) == (b"GET", b"websocket", False)
    assert head.fields[b"sec-websocket-key"] != b"mine"
    with pytest.raises(HeadError):
        request_head([(b":method", b"CONNECT"), (b":authority", b"a:1")], ended=False)
    with pytest.raises(MalformedError):
        request_head([*tunnel, (b"content-length", b"5")], ended=False)


def test_trailers() -> None:
    assert trailer_lines([(b"x-sum", b"7")]) == [b"x-sum: 7"]
    for name in (b"content-length", b"transfer-encoding", b"host", b":path", b"X", b"connection"):
        with pytest.raises(MalformedError):
            trailer_lines([(name, b"7")])


def test_answers() -> None:
    head = parse_response_head(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        b"Transfer-Encoding: chunked\r\nContent-Length: 5"
    )
    assert response_headers(head) == [(b":status", b"200"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    headers = page_headers(plain(400, "no"))
    assert headers[0] == (b":status", b"400")
    assert (b"content-length", b"3") in headers
    for bad in ([], [(b"x", b"y")], [(b":status", b"2000")], [(b":status", b"200"), (b"x", b"a\r\nb")], [(b":status", b"200\r\nx: y")]):
        with pytest.raises((MalformedError, HeadError)):
            response_head(bad)


def test_there_and_back() -> None:
    head = request_head([*BASE, (b"x", b"y"), (b"te", b"trailers"), (b"content-type", b"application/grpc")], ended=False)
    outgoing = rewrite_request(head, host=None, forwarded_host=None, keep_alive=True)
    assert request_headers(head, outgoing) == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"80-iabc.localhost"),
        (b":path", b"/a?b"),
        (b"x", b"y"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    masked = rewrite_request(head, host=b"other", forwarded_host=None, keep_alive=True)
    assert (b":authority", b"other") in request_headers(head, masked)


class _Read:
    def __init__(self) -> None:
        self.url = b""
        self.headers: list[Header] = []
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_message_complete(self) -> None:
        self.complete += 1


_texts = st.binary(max_size=12) | st.sampled_from([b"\r\n", b"chunked", b"5", b" ", b"/", b"a.b", b"GET", b"*"])
_names = (
    st.sampled_from([b":method", b":path", b":scheme", b":authority", b"content-length", b"transfer-encoding", b"x", b"host", b"cookie"])
    | _texts
)
_field = st.tuples(_names, _texts)


@given(st.lists(_field, max_size=6), st.lists(_field, max_size=3), st.booleans())
@example([(b":path", b"/\x80")], [], True)
def test_another_parser_reads_what_was_asked(before: list[Header], after: list[Header], ended: bool) -> None:
    """Whatever is let through is, to a parser that is not ours, one request with exactly these fields."""
    pseudo = dict(BASE) | {name: value for name, value in before if name[:1] == b":"}
    fields = [field for field in after if field[0][:1] != b":"]
    headers = [*pseudo.items(), *fields]
    try:
        head = request_head(headers, ended=ended)
    except (MalformedError, HeadError):
        return
    assert head.block is not None
    seen = _Read()
    parser = httptools.HttpRequestParser(seen)
    body = b"0\r\n\r\n" if head.chunked else b"x" * min(head.content_length, 1000)
    try:
        parser.feed_data(head.block + b"\r\n\r\n" + body)
    except httptools.HttpParserInvalidMethodError:
        return  # it knows only the methods that it knows
    except httptools.HttpParserInvalidURLError:
        assert not pseudo[b":path"].isascii()  # such paths are passed on as they are, and it takes none
        return
    assert seen.complete == 1
    assert parser.get_method() == pseudo[b":method"]
    assert seen.url == pseudo[b":path"]
    ours = {b"host", b"transfer-encoding", b"content-length", b"cookie"}
    assert [field for field in seen.headers if field[0] not in ours] == [field for field in fields if field[0] not in ours]
