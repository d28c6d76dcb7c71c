"""What Docker clients send as `Authorization` (contract templates-and-data §1.1.2)."""

from __future__ import annotations

import base64
import binascii

from sandbank.domain.errors import InvalidError

USER = "_e2b_access_token"


def parse_password(authorization: str) -> str:
    """The access token out of `Basic …`; `InvalidError` for anything else, and for another user's name.

    Windows shells leave the quotes of `echo "token"` in, so those around it do not count.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidError("the token is asked for with basic authentication")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidError("the credentials are not encoded as they should be") from error
    parts = decoded.split(":")
    if len(parts) != 2 or parts[0] != USER:
        raise InvalidError(f"the user must be {USER}")
    return parts[1].strip().strip('"').strip()


def parse_bearer(authorization: str) -> str | None:
    """The token out of `Bearer …`, if it is one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
