"""A head whose header lines were seen before must be taken, or refused, exactly as one that is new."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sandbank.proxy import head as heads
from sandbank.proxy.head import HeadError, RequestHead, parse_request_head

_STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"GET / HTTP/1.0",
        b"OPTIONS * HTTP/1.1",
        b"GET http://a.b/c HTTP/1.1",
        b"GET http://x/ HTTP/1.1",
    ]
) | st.lists(st.sampled_from([b"GET", b" ", b"/", b"#", b"\r", b"\n", b"\0", b"HTTP/1.1", b"HTTP/2.0", b"\xff"]), max_size=7).map(b"".join)
_LINES = st.sampled_from(
    [
        b"Host: a.b",
        b"host: c.d",
        b"Host: a b",
        b"Content-Length: 3",
        b"content-length: +3",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: upgrade, x-a",
        b"Connection: host",
        b"Upgrade: websocket",
        b"X-A: 1",
        b"X-A : 1",
        b" folded",
        b"no colon",
        b"X-B: \n",
        b"X-C: \r",
        b"",
    ]
)
_SECTIONS = st.lists(_LINES, max_size=5).map(lambda lines: b"".join(b"\r\n" + line for line in lines))


def _outcome(block: bytes) -> object:
    try:
        head = parse_request_head(block)
    except HeadError as error:
        return error.status, str(error)
    return {name: getattr(head, name) for name in RequestHead.__slots__}


@given(first=_STARTS, second=_STARTS, section=_SECTIONS)
@example(first=b"GET / HTTP/1.0", second=b"GET / HTTP/1.0\r\n", section=b"")
@example(first=b"GET / HTTP/1.1", second=b"GET /\n HTTP/1.1", section=b"\r\nHost: a.b")
def test_known_header_lines_change_nothing(first: bytes, second: bytes, section: bytes) -> None:
    heads._known_sections.clear()
    fresh = _outcome(second + section)
    heads._known_sections.clear()
    _outcome(first + section)
    assert _outcome(second + section) == fresh
    assert _outcome(second + section) == fresh


def test_what_is_remembered_is_bounded() -> None:
    heads._known_sections.clear()
    for number in range(3 * heads._KNOWN_SECTIONS_LIMIT):
        parse_request_head(b"GET / HTTP/1.1\r\nHost: a.b\r\nX-A: %d" % number)
        assert len(heads._known_sections) <= heads._KNOWN_SECTIONS_LIMIT
    heads._known_sections.clear()
    parse_request_head(b"GET / HTTP/1.1\r\nHost: a.b\r\nX-A: " + b"a" * heads._KNOWN_SECTION_BYTES)
    assert not heads._known_sections
