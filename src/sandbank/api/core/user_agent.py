"""Which generation of builds a client speaks, by its user agent (templates contract §1.0)."""

from __future__ import annotations

import re

from sandbank.api.core.template_build import LATEST_VERSION, VERSION_2
from sandbank.domain.errors import InvalidError

_CLIENTS = ("e2b-js-sdk/", "e2b-python-sdk/")
_VERSION = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:[-+.a-z][0-9A-Za-z.+-]*)?")
_LATEST_SINCE = (2, 3, 0)


def build_version(user_agent: str) -> str:
    """The version that a build is made by; `InvalidError` for an SDK whose own version cannot be read."""
    for part in user_agent.split():
        for client in _CLIENTS:
            if part.startswith(client):
                match = _VERSION.fullmatch(text := part.removeprefix(client))
                if match is None:
                    raise InvalidError(f"Error when parsing user agent: invalid version {text!r}")
                known = tuple(int(number or 0) for number in match.groups())
                return VERSION_2 if known < _LATEST_SINCE else LATEST_VERSION
    return LATEST_VERSION
