"""What a resolver may change in a request and its answer, beyond the host."""

from __future__ import annotations

from sandbank.proxy.head import parse_request_head, parse_response_head
from sandbank.proxy.page import Page
from sandbank.proxy.rewrite import Edits, edited_response, rewrite_request, rewrite_response


def test_target_and_headers_are_replaced() -> None:
    """And nothing of the client's credentials travels on, however often it said them."""
    head = parse_request_head(b"PUT /a?x=;y HTTP/1.1\r\nHost: here\r\nAuthorization: one\r\nauthorization: two\r\nX: 1\r\nCookie: c")
    edits = Edits(b"/b?z", {b"authorization": b"ours", b"cookie": None}, lambda answer: answer)
    sent = rewrite_request(head, host=b"there", forwarded_host=None, keep_alive=True, edits=edits)
    assert sent == b"PUT /b?z HTTP/1.1\r\nHost: there\r\nX: 1\r\nauthorization: ours\r\n\r\n"


def test_an_edited_answer_leaves_the_connections_own_as_it_was() -> None:
    """Connections compare heads with the last one, and remember what most clients get of it."""
    head = parse_response_head(b"HTTP/1.1 202 Accepted\r\nLocation: /a\r\nlocation: /b\r\nWWW-Authenticate: x")
    edited = edited_response(head, {b"location": b"/c", b"www-authenticate": None})
    assert rewrite_response(edited, connection=None) == b"HTTP/1.1 202 Accepted\r\nlocation: /c\r\n\r\n"
    assert b"Location: /a" in rewrite_response(head, connection=None)


def test_a_page_may_have_further_headers_and_no_body() -> None:
    """As registries answer who has no token."""
    page = Page(401, b"", b"", (b'Www-Authenticate: Bearer realm="x"',))
    assert b"\r\nContent-Type:" not in page.encode(close=False)
    assert b'Content-Length: 0\r\nX-Content-Type-Options: nosniff\r\nWww-Authenticate: Bearer realm="x"\r\n\r\n' in page.encode(close=False)
