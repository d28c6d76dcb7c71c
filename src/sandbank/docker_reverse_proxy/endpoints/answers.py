"""What the proxy itself answers, byte for byte as clients know it (contract templates-and-data §1.1.2)."""

from __future__ import annotations

import json

from sandbank.docker_reverse_proxy.core.grant import Grant
from sandbank.proxy.page import Page

_VERSION = b"Docker-Distribution-API-Version: registry/2.0"
_JSON = b"application/json"


def empty(status: int) -> Page:
    """A status and nothing else."""
    return Page(status, b"", b"")


def logged_in() -> Page:
    """The answer to `/v2/` for a token that is good."""
    return Page(200, b"", b"", (_VERSION,))


def log_in(realm: str) -> Page:
    """Where to get a token."""
    return Page(401, b"", b"", (f'Www-Authenticate: Bearer realm="{realm}"'.encode("latin-1"), _VERSION))


def token(grant: Grant) -> Page:
    """A token."""
    return Page(200, _JSON, json.dumps({"token": grant.token, "expires_in": grant.expires_seconds}).encode())


def denied(message: str) -> Page:
    """A refusal that says why."""
    return Page(403, b"text/plain; charset=utf-8", message.encode())


def failed(status: int, message: str) -> Page:
    """An error as registries write it, which Docker shows to its user."""
    return Page(status, _JSON, json.dumps({"errors": [{"code": "UNAVAILABLE", "message": message}]}).encode())
