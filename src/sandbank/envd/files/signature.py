"""Signed URLs (data-plane contract §4.7)."""

from __future__ import annotations

import binascii
import hashlib
import re
import time
from typing import Literal

from sandbank.domain.errors import InvalidError, UnauthenticatedError
from sandbank.envd.authentication import same_token
from sandbank.envd.transport.request import Request

Operation = Literal["read", "write"]
_SECONDS = re.compile(r"-?[0-9]{1,18}")


def sign(path: str, operation: Operation, username: str, token: str, expiration: int | None) -> str:
    """The signature of one operation on one raw path; `expiration` in seconds since the epoch."""
    payload = f"{path}:{operation}:{username}:{token}"
    if expiration is not None:
        payload += f":{expiration}"
    digest = hashlib.sha256(payload.encode("utf-8", "surrogateescape")).digest()
    return "v1_" + binascii.b2a_base64(digest, newline=False).decode().rstrip("=")


def _expiration(request: Request) -> int | None:
    text = request.query.get("signature_expiration")
    if text is None:
        return None
    if not _SECONDS.fullmatch(text):
        raise InvalidError(f"invalid format for parameter signature_expiration: '{text[:64]}' is no number of seconds")
    return int(text)


def authorise(request: Request, operation: Operation, access_token: str | None) -> None:
    """Let the token or a valid signature pass; `UnauthenticatedError` otherwise. The order of the checks is part of the contract.

    `InvalidError`, before any check, for an expiration that is no number.
    """
    expiration = _expiration(request)
    if access_token is None:
        return
    given = request.headers.get("x-access-token")
    if given is not None:
        if not same_token(given, access_token):
            raise UnauthenticatedError("access token present in header but does not match")
        return
    query = request.query
    signature = query.get("signature")
    if not signature:
        raise UnauthenticatedError("missing signature query parameter")
    expected = sign(query.get("path", ""), operation, query.get("username", ""), access_token, expiration)
    if not same_token(signature, expected):
        raise UnauthenticatedError("invalid signature")
    if expiration is not None and expiration < time.time():
        raise UnauthenticatedError("signature is already expired")
