"""Who may call: the sandbox's access token, and the user a request names (data-plane contract §4.1)."""

from __future__ import annotations

import binascii
import hmac

from sandbank.envd.transport.request import Request

UNAUTHORIZED = "unauthorized access, please provide a valid access token or method signing if supported"
_OPEN = frozenset({("GET", "/health"), ("GET", "/files"), ("POST", "/files"), ("POST", "/init")})


def same_token(left: str, right: str) -> bool:
    """Compare without telling by the time how far they agree."""
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))


def may_pass(request: Request, access_token: str | None) -> bool:
    """Whether the token is right, or not needed here: `/files` checks signatures and `/init` its body by themselves."""
    if access_token is None or (request.method, request.path) in _OPEN:
        return True
    return same_token(request.headers.get("x-access-token", ""), access_token)


def named_user(request: Request) -> str | None:
    """The user of `Authorization: Basic <user>:`; None for any other header or an empty name."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = binascii.a2b_base64(encoded.strip()).decode("utf-8", "surrogateescape")
    except ValueError:  # no base64, or not even ASCII
        return None
    name, colon, _ = decoded.partition(":")
    return name if name and colon else None
