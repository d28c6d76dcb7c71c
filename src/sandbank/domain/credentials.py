"""API keys and access tokens: their shape, their hash, what of them may be shown (REST contract §4.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

API_KEY_PREFIX = "e2b_"
ACCESS_TOKEN_PREFIX = "sk_e2b_"  # noqa: S105  # a public prefix

_RANDOM_BYTES = 20


@dataclass(frozen=True, slots=True)
class Mask:
    """What remains visible of a credential after it was shown once. `length` counts the characters after the prefix."""

    prefix: str
    length: int
    first: str
    last: str


def new_api_key() -> str:
    """A fresh team API key: `e2b_` and 40 hexadecimal characters."""
    return API_KEY_PREFIX + secrets.token_hex(_RANDOM_BYTES)


def new_access_token() -> str:
    """A fresh user access token: `sk_e2b_` and 40 hexadecimal characters."""
    return ACCESS_TOKEN_PREFIX + secrets.token_hex(_RANDOM_BYTES)


def hash_credential(raw: str, prefix: str) -> str | None:
    """The stored form of `raw`, or `None` if it is not `prefix` and hexadecimal digits.

    The digest covers the bytes that the digits stand for, not the text, and its base64 has no padding.
    """
    if not raw.startswith(prefix) or len(raw) == len(prefix):
        return None
    digits = raw[len(prefix) :]
    if not digits.isascii() or not digits.isalnum():
        return None  # bytes.fromhex would let white space pass
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        return None
    return "$sha256$" + base64.b64encode(hashlib.sha256(value).digest()).decode().rstrip("=")


def mask_credential(raw: str, prefix: str) -> Mask:
    """The visible rest of `raw`, which starts with `prefix`."""
    digits = raw[len(prefix) :]
    return Mask(prefix=prefix, length=len(digits), first=digits[:2], last=digits[-4:])


class SandboxTokens:
    """Derives a sandbox's own tokens from its ID, so that they need not be stored and are equal on every read.

    Whoever knows `seed` can enter every sandbox: it is a secret of the installation.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()

    def envd(self, sandbox_id: str) -> str:
        """What the agent inside asks of its callers, as lower-case hexadecimal."""
        return hmac.new(self._seed, sandbox_id.encode(), hashlib.sha256).hexdigest()

    def traffic(self, sandbox_id: str) -> str:
        """What the proxies ask of callers where public traffic is off."""
        return hmac.new(self._seed, b"sandbox-traffic-" + sandbox_id.encode(), hashlib.sha256).hexdigest()
