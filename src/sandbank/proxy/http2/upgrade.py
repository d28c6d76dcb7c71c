"""`Upgrade: h2c`: a request of HTTP/1.1 whose answer comes in HTTP/2 (RFC 7540 §3.2, contract data-plane §7)."""

from __future__ import annotations

import base64
import binascii

from h2.exceptions import H2Error
from hyperframe.exceptions import HyperframeError

from sandbank.proxy.head import RequestHead

_MAX_BODY_BYTES = 1024 * 1024
_MAX_SETTINGS_BYTES = 6 * 64

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
BROKEN_SETTINGS = (H2Error, HyperframeError)


def upgrade_settings(head: RequestHead) -> bytes | None:
    """The settings that come with a request to go on in HTTP/2; None when this is none, or one that is better answered as it is."""
    fields = head.fields
    settings = fields.get(b"http2-settings")
    if not settings or head.minor == 0 or head.chunked or b"expect" in fields or head.content_length > _MAX_BODY_BYTES:
        return None
    if fields.get(b"upgrade", b"").lower() != b"h2c" or not {b"upgrade", b"http2-settings"} <= head.connection:
        return None
    try:
        decoded = base64.b64decode(settings + b"=" * (-len(settings) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if not decoded or len(decoded) % 6 or len(decoded) > _MAX_SETTINGS_BYTES:
        return None
    return base64.urlsafe_b64encode(decoded)


class Upgrade:
    """A request whose body must come whole before the protocol changes."""

    __slots__ = ("_left", "_pieces", "head", "rest")

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.rest = b""
        self._left = head.content_length
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> bool:
        """Whether the body is complete now; what came after it is `rest`."""
        self._pieces.append(data[: self._left])
        self.rest = data[self._left :]
        self._left -= len(self._pieces[-1])
        return self._left == 0

    @property
    def body(self) -> bytes:
        """What has come of it."""
        return b"".join(self._pieces)
