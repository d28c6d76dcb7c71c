"""Identifiers as E2B's clients and tools expect them (REST contract §4.1)."""

from __future__ import annotations

import re
import secrets
import string

from sandbank.domain.errors import InvalidError

CLIENT_ID = "6532622b"  # a constant in every response: deprecated, but clients require it to be there

_ALPHABET = string.ascii_lowercase + string.digits
_SANDBOX_ID = re.compile(r"[a-z0-9]{1,64}")


def _random(length: int) -> str:
    # One draw of one large number: twenty small ones are noticeable on the way to a sandbox.
    number = secrets.randbelow(len(_ALPHABET) ** length)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def new_sandbox_id() -> str:
    """A fresh sandbox ID: `i` and 20 characters of `[a-z0-9]`, safe as a DNS label."""
    return "i" + _random(20)


def new_template_id() -> str:
    """A fresh template ID: 20 characters of `[a-z0-9]`."""
    return _random(20)


def is_sandbox_id(text: str) -> bool:
    """Whether `text` has the shape of a bare sandbox ID."""
    return _SANDBOX_ID.fullmatch(text) is not None


def parse_sandbox_id(text: str) -> str:
    """The bare ID of `<id>` or the older `<id>-<clientID>`; `InvalidError` for anything else."""
    parts = text.split("-")
    if len(parts) > 2 or not is_sandbox_id(parts[0]):
        raise InvalidError("Invalid sandbox ID")
    return parts[0]
