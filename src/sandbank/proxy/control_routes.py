"""Routes of the in-sandbox agent that belong to the control plane and are never reachable from outside (contract data-plane §7.7)."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote

AGENT_PORT = 49983

_CONTROL_ROUTES = frozenset({"/collapse", "/freeze", "/fsfreeze", "/fsthaw", "/init", "/unfreeze", "/upgrade"})


def clean_path(target: bytes) -> str:
    """The path of a request target, decoded once and with `.`, `..`, empty and trailing segments resolved."""
    path = unquote(target.partition(b"?")[0].decode("latin-1"), encoding="latin-1")
    # normpath keeps exactly two leading slashes, as POSIX allows.
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def is_control_route(target: bytes) -> bool:
    """Whether the agent would take this request target for a control-plane route."""
    return clean_path(target) in _CONTROL_ROUTES
