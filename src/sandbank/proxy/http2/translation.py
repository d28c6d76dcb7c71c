"""Between HTTP/2 header lists and HTTP/1.1 heads.

A request that is written down in HTTP/1.1 must be read there as exactly what was sent. So a name, value, method or path with a character
that means something there is refused here, and the result is parsed again as strictly as if a client had sent it (RFC 9113 §8.2, §10.3).
"""

from __future__ import annotations

import base64
import os
import string
from collections.abc import Iterable, Sequence

from sandbank.proxy.body import FORBIDDEN_TRAILERS
from sandbank.proxy.head import HeadError, RequestHead, ResponseHead, parse_request_head, parse_response_head
from sandbank.proxy.page import Page

Header = tuple[bytes, bytes]

_NAME = (string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~").encode()
_VALUE = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_METHOD = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_FORBIDDEN = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_HOP = _FORBIDDEN | {b"proxy-authenticate", b"te", b"http2-settings"}
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class MalformedError(Exception):
    """A header list that is no request; its stream is reset with PROTOCOL_ERROR."""


def _check_field(name: bytes, value: bytes) -> None:
    if not name or name.translate(None, _NAME):
        raise MalformedError("invalid header name")
    if value.translate(None, _VALUE) or value != value.strip(b" \t"):
        raise MalformedError("invalid header value")


def _split(headers: Iterable[Header]) -> tuple[dict[bytes, bytes], list[Header], list[bytes]]:
    """Pseudo-headers, the others, and the crumbs of the cookie."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[Header] = []
    crumbs: list[bytes] = []
    for name, value in headers:
        if name[:1] == b":":
            if fields or crumbs or name in pseudo or name not in _PSEUDO or value.translate(None, _VALUE):
                raise MalformedError("invalid pseudo-header")
            pseudo[name] = value
            continue
        _check_field(name, value)
        if name in _FORBIDDEN or (name == b"te" and value.lower() != b"trailers"):
            raise MalformedError("connection header")
        if name == b"cookie":
            crumbs.append(value)
        else:
            fields.append((name, value))
    return pseudo, fields, crumbs


def _host(pseudo: dict[bytes, bytes], fields: list[Header]) -> bytes:
    hosts = {value for name, value in fields if name == b"host"}
    if (authority := pseudo.get(b":authority")) is not None:
        hosts.add(authority)
    if len(hosts) != 1:
        raise MalformedError("no host, or several")
    return hosts.pop()


def request_head(headers: Iterable[Header], *, ended: bool) -> RequestHead:
    """The request in HTTP/1.1; `ended` when no body follows. `MalformedError`, or `HeadError` with the status of a refusal.

    A body without a length becomes a chunked one. A WebSocket over HTTP/2 (RFC 8441) becomes the upgrade it would have been.
    """
    pseudo, fields, crumbs = _split(headers)
    method = pseudo.get(b":method", b"")
    path = pseudo.get(b":path", b"")
    host = _host(pseudo, fields)
    tunnel = b":protocol" in pseudo
    if not method or method.translate(None, _METHOD) or (tunnel and method != b"CONNECT"):
        raise MalformedError("invalid method")
    if method == b"CONNECT" and not tunnel:
        path = host  # the form it has in HTTP/1.1, where it is refused
    elif pseudo.get(b":scheme", b"").lower() not in (b"http", b"https") or not (
        path.startswith(b"/") or (path, method) == (b"*", b"OPTIONS")
    ):
        raise MalformedError("invalid scheme or path")
    lines = [(b"GET" if tunnel else method) + b" " + path + b" HTTP/1.1", b"host: " + host]
    lines += [name + b": " + value for name, value in fields if name != b"host" and not (tunnel and name == b"sec-websocket-key")]
    if crumbs:
        lines.append(b"cookie: " + b"; ".join(crumbs))  # RFC 9113 §8.2.3
    lengths = [value for name, value in fields if name == b"content-length"]
    if tunnel:
        if pseudo[b":protocol"].lower() != b"websocket":
            raise HeadError("unknown protocol", 501)
        if lengths or ended:
            raise MalformedError("a tunnel has no length and no end")
        lines += [b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-key: " + base64.b64encode(os.urandom(16))]
    elif not ended and not lengths:
        lines.append(b"transfer-encoding: chunked")
    elif ended and not lengths and method in _WITH_BODY:
        lines.append(b"content-length: 0")
    head = parse_request_head(b"\r\n".join(lines))
    if ended and head.content_length:
        raise MalformedError("no body, but a length")
    return head


def trailer_lines(headers: Iterable[Header]) -> list[bytes]:
    """A request's trailers as they stand at the end of a chunked body; `MalformedError` when they have no place there."""
    lines = []
    for name, value in headers:
        _check_field(name, value)
        if name in FORBIDDEN_TRAILERS or name in _FORBIDDEN:
            raise MalformedError("header among trailers")
        lines.append(name + b": " + value)
    return lines


def header_list(lines: Iterable[bytes], *, dropped: frozenset[bytes] = _HOP) -> list[Header]:
    """Raw header lines as HTTP/2 has them."""
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        if (lowered := name.lower()) not in dropped:
            headers.append((lowered, value.strip(b" \t")))
    return headers


def response_headers(head: ResponseHead, *, status: int | None = None) -> list[Header]:
    """An answer's head in HTTP/2; `status` takes the place of its own."""
    dropped = _HOP | head.connection if head.connection else _HOP
    if head.chunked:
        dropped = dropped | {b"content-length"}
    return [(b":status", b"%d" % (status or head.status)), *header_list(head.lines, dropped=dropped)]


def page_headers(page: Page) -> list[Header]:
    """A page's head in HTTP/2."""
    return response_headers(parse_response_head(page.encode(close=False, head_only=True).removesuffix(b"\r\n\r\n")))


def request_headers(head: RequestHead, outgoing: bytes) -> list[Header]:
    """A request, whose head for the origin is `outgoing`, in HTTP/2."""
    lines = outgoing.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, _ = lines[0].split(b" ")
    fields = header_list(lines[1:], dropped=_HOP | {b"host"})
    host = next((value for name, value in header_list(lines[1:]) if name == b"host"), head.host)
    headers = [(b":method", method), (b":scheme", b"http"), (b":authority", host), (b":path", target), *fields]
    if b"te" in head.fields:
        headers.append((b"te", b"trailers"))
    return headers


def response_head(headers: Sequence[Header]) -> ResponseHead:
    """An origin's answer in HTTP/1.1 terms; `MalformedError` and `HeadError` when it is none."""
    status = headers[0][1] if headers and headers[0][0] == b":status" else b""
    if len(status) != 3 or not status.isdigit():
        raise MalformedError("no status")
    for name, value in headers[1:]:
        _check_field(name, value)
        if name in _FORBIDDEN:
            raise MalformedError("connection header")
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers[1:])]
    return parse_response_head(b"\r\n".join(lines))
