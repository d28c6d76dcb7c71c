"""The bearer tokens that a client pushes with: signed, not stored.

E2B's proxy keeps its own in the memory of one process. Here every replica that knows the secret honours what another one gave out, without
a store between them that each request of a push would have to ask. The price: a token cannot be taken back before its two hours are over,
which holds for E2B's as well.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

TOKEN_BYTES = 128
LIFETIME_SECONDS = 7200
_MAC_BYTES = 32
_BODY_BYTES = TOKEN_BYTES - _MAC_BYTES
_EXPIRY_BYTES = 8
_ID_AT = _EXPIRY_BYTES + 1  # behind its length


class Tokens:
    """Makes and reads tokens. `secret` is the replicas' own; `clock` tells the seconds since 1970, the same for all of them."""

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        self._key = hmac.digest(secret, b"docker-reverse-proxy token", hashlib.sha256)
        self._clock = clock

    def issue(self, template_id: str) -> str:
        """A token of 128 bytes in base64. With an empty `template_id` it passes the login check and nothing else."""
        name = template_id.encode()
        body = int(self._clock() + LIFETIME_SECONDS).to_bytes(_EXPIRY_BYTES, "big") + bytes([len(name)]) + name
        body += secrets.token_bytes(_BODY_BYTES - len(body))
        return base64.b64encode(body + self._sign(body)).decode()

    def find_template(self, token: str) -> str | None:
        """The template's ID in a token of ours that has not expired, which may be empty; else nothing."""
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            return None
        if len(raw) != TOKEN_BYTES or not hmac.compare_digest(raw[_BODY_BYTES:], self._sign(raw[:_BODY_BYTES])):
            return None
        if int.from_bytes(raw[:_EXPIRY_BYTES], "big") <= self._clock():
            return None
        return raw[_ID_AT : _ID_AT + raw[_EXPIRY_BYTES]].decode()

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)
