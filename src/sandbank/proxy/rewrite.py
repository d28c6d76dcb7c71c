"""What changes in a head on its way through (contract data-plane §7.3): hop-by-hop headers and claims of other proxies go.

`Transfer-Encoding` and `Trailer` stay although they are hop-by-hop, because the body travels on with the framing it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbank.proxy.head import RequestHead, ResponseHead

_HOP = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"upgrade", b"http2-settings"}
)
_STRIPPED = _HOP | {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
_BAD_PARAMETER = re.compile(rb";|%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes that a resolver asks for: another target, header values by lower-case name (`None` removes), another head of the answer."""

    target: bytes
    fields: Mapping[bytes, bytes | None]
    respond: Callable[[ResponseHead], ResponseHead]


def edited_response(head: ResponseHead, fields: Mapping[bytes, bytes | None]) -> ResponseHead:
    """A copy of `head` with these header values, by lower-case name; `None` removes. The connection keeps the original."""
    copy = ResponseHead()
    for name in ResponseHead.__slots__:
        setattr(copy, name, getattr(head, name))
    copy.rewritten = None
    kept = [(name, line) for name, line in zip(head.names, head.lines, strict=True) if name not in fields]
    kept += [(name, name + b": " + value) for name, value in fields.items() if value is not None]
    copy.names = [name for name, _ in kept]
    copy.lines = [line for _, line in kept]
    copy.fields = {name: value for name, value in head.fields.items() if name not in fields}
    copy.fields |= {name: value for name, value in fields.items() if value is not None}
    return copy


def clean_query(target: bytes) -> bytes:
    """The target without the query parameters that two parsers could read differently (`;`, broken escapes)."""
    path, mark, query = target.partition(b"?")
    if not mark or _BAD_PARAMETER.search(query) is None:
        return target
    kept = [parameter for parameter in query.split(b"&") if _BAD_PARAMETER.search(parameter) is None]
    return path + b"?" + b"&".join(kept) if kept else path


def rewrite_request(
    head: RequestHead, *, host: bytes | None, forwarded_host: bytes | None, keep_alive: bool, edits: Edits | None = None
) -> bytes:
    """The head for the origin, which is always asked in HTTP/1.1; `host` replaces the Host header."""
    target = head.target if b"?" not in head.target else clean_query(head.target)
    if edits is not None:
        target = edits.target
    if (
        edits is None
        and head.block is not None
        and keep_alive
        and host is None
        and forwarded_host is None
        and target is head.target
        and head.minor == 1
        and _STRIPPED.isdisjoint(head.fields)
    ):
        return head.block + b"\r\n\r\n"
    dropped = _STRIPPED | head.connection if head.connection else _STRIPPED
    if host is not None or not head.host:
        dropped = dropped | {b"host"}
    if edits is not None:
        dropped = dropped | edits.fields.keys()
    lines = [head.method + b" " + target + b" HTTP/1.1"]
    if b"host" in dropped:
        lines.append(b"Host: " + (head.host if host is None else host))
    lines += [line for name, line in zip(head.names, head.lines, strict=True) if name not in dropped]
    if b"te" in head.fields and b"trailers" in head.fields[b"te"].lower():
        lines.append(b"TE: trailers")
    if edits is not None:
        lines += [name + b": " + value for name, value in edits.fields.items() if value is not None]
    if forwarded_host is not None:
        lines.append(b"X-Forwarded-Host: " + forwarded_host)
    if head.upgrade is not None:
        lines.append(b"Connection: Upgrade")
        lines.append(b"Upgrade: " + head.upgrade)
    elif not keep_alive:
        lines.append(b"Connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def rewrite_response(head: ResponseHead, *, connection: bytes | None, drop_framing: bool = False) -> bytes:
    """The head for the client; `connection` becomes its Connection header, `drop_framing` removes the chunked coding (HTTP/1.0 clients)."""
    plain = connection is None and not drop_framing
    if plain and head.rewritten is not None:
        return head.rewritten
    dropped = _HOP | head.connection if head.connection else _HOP
    if drop_framing:
        dropped = dropped | {b"transfer-encoding", b"trailer"}
    if head.chunked:
        dropped = dropped | {b"content-length"}  # RFC 9112 §6.3: the coding wins, and only one may travel on
    status_line = head.status_line if head.minor == 1 else b"HTTP/1.1" + head.status_line[8:]
    lines = [status_line]
    lines += [line for name, line in zip(head.names, head.lines, strict=True) if name not in dropped]
    if connection is not None:
        lines.append(b"Connection: " + connection)
        if head.status == 101 and b"upgrade" in head.fields:
            lines.append(b"Upgrade: " + head.fields[b"upgrade"])
    lines.append(b"\r\n")
    rewritten = b"\r\n".join(lines)
    if plain:
        head.rewritten = rewritten
    return rewritten
