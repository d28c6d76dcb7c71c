"""HTTP/1.1 heads: strict for requests, a little forgiving for what programs in sandboxes answer.

A head is parsed from its raw bytes in one go and keeps its raw lines, so that forwarding rebuilds nothing that it does not change.
Strictness is what keeps two parsers in a row from disagreeing about where a message ends (RFC 9112 §11.2).
"""

from __future__ import annotations

import re
import string

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
REMEMBERED_BYTES = 4096  # what is larger is not kept for longer than it is needed: connections last, and there are thousands

_TOKEN = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
# Everything a line may contain: HTAB, printable ASCII and obs-text. What is left after deleting these must be exactly the CRLFs.
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TARGET = bytes(byte for byte in [*range(0x21, 0x7F), *range(0x80, 0x100)] if byte != 0x23)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.DOTALL)
_RESPONSE_END = re.compile(rb"\n\r?\n")
_HOST = (string.ascii_letters + string.digits + "._~%!$&'()*+,;=:[]-").encode()
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})

# Raw spelling → lower case, for names that were found valid before: nearly every request repeats the same ones.
_known_names: dict[bytes, bytes] = {}
_KNOWN_NAMES_LIMIT = 1024

# Header lines (all of a request's head but its first line) → what they say, for those that were found valid before: a client that asks for
# another path each time repeats the rest. Cleared when full, so that nobody can make it grow; its values are never changed.
_known_sections: dict[bytes, tuple[list[bytes], list[bytes], dict[bytes, bytes]]] = {}
_KNOWN_SECTIONS_LIMIT = 256
_KNOWN_SECTION_BYTES = REMEMBERED_BYTES

# A second one of these would leave it to the next parser which one counts.
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
# Naming one of these in `Connection` would remove what frames or routes the message.
_UNREMOVABLE = frozenset({b"host", b"content-length", b"transfer-encoding"})


class HeadError(Exception):
    """The bytes are no acceptable head; `status` is what a server answers."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class RequestHead:
    """A request's start line and headers. `names` (lower case) and `lines` (raw) run in parallel, `fields` has the first value of each."""

    __slots__ = (
        "block",
        "chunked",
        "connection",
        "content_length",
        "fields",
        "host",
        "keep_alive",
        "lines",
        "method",
        "minor",
        "names",
        "secure",
        "target",
        "upgrade",
    )

    block: bytes | None  # the raw head without its final empty line; None when it must be rebuilt
    method: bytes
    target: bytes  # origin form or `*`
    minor: int
    names: list[bytes]
    lines: list[bytes]
    fields: dict[bytes, bytes]
    host: bytes
    secure: bool  # whether it came in TLS, as the connection knows
    content_length: int
    chunked: bool
    keep_alive: bool
    connection: frozenset[bytes]
    upgrade: bytes | None

    def shed(self) -> None:
        """Let go of a large head's lines once they have been sent: a stream or tunnel may outlive them by hours."""
        if self.block is None or len(self.block) > REMEMBERED_BYTES:
            self.block = None
            self.names, self.lines, self.fields = [], [], {}


class ResponseHead:
    """A response's status line and headers, as `RequestHead`."""

    __slots__ = (
        "chunked",
        "connection",
        "content_length",
        "fields",
        "keep_alive",
        "lines",
        "minor",
        "names",
        "rewritten",
        "status",
        "status_line",
    )

    status_line: bytes
    status: int
    minor: int
    names: list[bytes]
    lines: list[bytes]
    fields: dict[bytes, bytes]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    connection: frozenset[bytes]
    rewritten: bytes | None  # what most clients get of it, once somebody has worked that out


_COMMON_OPTIONS = frozenset({b"keep-alive", b"close", b"upgrade"})
_NOTHING: frozenset[bytes] = frozenset()


def _lower_name(name: bytes) -> bytes:
    if not name or name.translate(None, _TOKEN):
        raise HeadError("invalid header name")
    lowered = name.lower()
    if len(_known_names) < _KNOWN_NAMES_LIMIT and len(name) <= 64:
        _known_names[name] = lowered
    return lowered


def _parse_lines(lines: list[bytes], *, single: frozenset[bytes]) -> tuple[list[bytes], dict[bytes, bytes]]:
    names: list[bytes] = []
    fields: dict[bytes, bytes] = {}
    known = _known_names
    for line in lines:
        raw, colon, value = line.partition(b":")
        if not colon:
            raise HeadError("header without colon")
        name = known.get(raw) or _lower_name(raw)
        names.append(name)
        if name not in fields:
            fields[name] = value.strip(b" \t")
        elif name in single:
            raise HeadError("repeated header")
    return names, fields


def _parse_section(section: bytes) -> tuple[list[bytes], list[bytes], dict[bytes, bytes]]:
    """Names, lines and first values of header lines whose characters were checked; remembers them."""
    lines = section.split(b"\r\n")[1:]
    names, fields = _parse_lines(lines, single=_SINGLE)
    if len(section) <= _KNOWN_SECTION_BYTES:
        if len(_known_sections) >= _KNOWN_SECTIONS_LIMIT:
            _known_sections.clear()
        _known_sections[section] = names, lines, fields
    return names, lines, fields


def _connection_options(names: list[bytes], lines: list[bytes]) -> frozenset[bytes]:
    options: set[bytes] = set()
    for name, line in zip(names, lines, strict=True):
        if name == b"connection":
            value = line.partition(b":")[2].strip(b" \t").lower()
            if value in _COMMON_OPTIONS:
                options.add(value)
            else:
                options.update(option.strip(b" \t") for option in value.split(b","))
    if not _UNREMOVABLE.isdisjoint(options):
        raise HeadError("connection option names a framing header")
    return frozenset(options)


def _content_length(value: bytes) -> int:
    if _DIGITS.fullmatch(value) is None:
        raise HeadError("invalid content-length")
    return int(value)


def parse_request_head(block: bytes) -> RequestHead:
    """Parse the bytes before the empty line that ends a head; `HeadError` names what is wrong."""
    start = block.partition(b"\r\n")[0]
    section = block[len(start) :]  # with the line end before it: no lines and one empty line differ
    known = _known_sections.get(section)
    if known is None:
        lines = block.split(b"\r\n")
        if len(block.translate(None, _TEXT)) != 2 * (len(lines) - 1):
            raise HeadError("invalid character")
        if len(lines) > MAX_HEADERS + 1:
            raise HeadError("too many headers", 431)
    elif start.translate(None, _TEXT):
        raise HeadError("invalid character")
    parts = start.split(b" ")
    if len(parts) != 3:
        raise HeadError("invalid request line")
    head = RequestHead()
    head.block = block
    head.method, head.target, version = parts
    if version == b"HTTP/1.1":
        head.minor = 1
    elif version == b"HTTP/1.0":
        head.minor = 0
    else:
        raise HeadError("unsupported version", 505)
    if head.method not in _METHODS and (not head.method or head.method.translate(None, _TOKEN)):
        raise HeadError("invalid method")
    head.names, head.lines, fields = known or _parse_section(section)
    head.fields = fields
    host = fields.get(b"host")
    if host is None:
        if head.minor == 1:
            raise HeadError("missing host")
        host = b""
    elif host.translate(None, _HOST):
        raise HeadError("invalid host")
    head.host = host
    head.secure = False
    _set_target(head)
    head.chunked = False
    head.content_length = 0
    if b"transfer-encoding" in fields or b"content-length" in fields:
        _set_framing(head)
    head.upgrade = None
    if b"connection" in fields:
        _set_connection(head)
    else:
        head.connection = _NOTHING
        head.keep_alive = head.minor == 1
    return head


def _set_target(head: RequestHead) -> None:
    target = head.target
    # A fragment is not part of a request target, and a server that cuts it off would see another path than the one checked here.
    if target.translate(None, _TARGET):
        raise HeadError("invalid request target")
    if target.startswith(b"/"):
        return
    if target == b"*" and head.method == b"OPTIONS":
        return
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https") or head.method == b"CONNECT":
        raise HeadError("invalid request target")
    cut = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
    if rest[:cut] != head.host:
        raise HeadError("request target and host differ")
    path = rest[cut:]
    head.target = path if path.startswith(b"/") else b"/" + path
    head.block = None


def _set_framing(head: RequestHead) -> None:
    fields = head.fields
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is not None:
        if length is not None or head.minor == 0 or coding.lower() != b"chunked":
            raise HeadError("invalid transfer-encoding")
        head.chunked = True
    elif length is not None:
        head.content_length = _content_length(length)


def _set_connection(head: RequestHead) -> None:
    head.connection = options = _connection_options(head.names, head.lines)
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    if b"upgrade" in options and head.minor == 1:
        protocol = head.fields.get(b"upgrade")
        # HTTP/2 is negotiated hop by hop; an origin must never be asked for it on the client's behalf.
        if protocol and protocol.lower() != b"h2c":
            head.upgrade = protocol


def find_response_end(data: bytes, searched: int = 0) -> tuple[int, int] | None:
    """Where a response's head ends and its body begins; bare line feeds count as line ends. There is none before `searched`."""
    match = _RESPONSE_END.search(data, searched)
    if match is None:
        return None
    start = match.start()
    if start and data[start - 1] == 0x0D:
        start -= 1
    return start, match.end()


def parse_response_head(block: bytes) -> ResponseHead:
    """Parse the bytes before the empty line that ends a head; `HeadError` says that the origin speaks no HTTP/1."""
    lines = block.split(b"\r\n")
    if len(block.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
        if any(line.translate(None, _TEXT) for line in lines):
            raise HeadError("invalid character")
    if len(lines) > MAX_HEADERS + 1:
        raise HeadError("too many headers")
    head = ResponseHead()
    head.rewritten = None
    head.status_line = lines.pop(0)
    match = _STATUS_LINE.fullmatch(head.status_line)
    if match is None:
        raise HeadError("invalid status line")
    head.minor = int(match[1])
    head.status = int(match[2])
    head.lines = lines
    head.names, head.fields = names, fields = _parse_lines(lines, single=_SINGLE - {b"host", b"expect"})
    head.connection = _connection_options(names, lines) if b"connection" in fields else _NOTHING
    head.keep_alive = b"close" not in head.connection and (head.minor == 1 or b"keep-alive" in head.connection)
    head.chunked = False
    head.content_length = None
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is not None:
        if coding.lower() != b"chunked" or head.minor == 0:
            raise HeadError("invalid transfer-encoding")
        head.chunked = True
    elif length is not None:
        head.content_length = _content_length(length)
    return head
