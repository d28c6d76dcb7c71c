"""Which sandbox and port a request is for (contract data-plane §7.1)."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple

_SANDBOX_ID = re.compile(r"[a-z0-9]+")
_PORT = re.compile(r"[0-9]{1,20}")
_REMEMBERED_CHARACTERS = 512  # a host name has 253 at most; what is longer must not fill memory


class Target(NamedTuple):
    """A sandbox's port. `shared_domain` is the domain behind `sandbox.` when the request came to the host that all sandboxes share."""

    sandbox_id: str
    port: int
    shared_domain: str | None = None


class TargetError(Exception):
    """The request names no sandbox; the text is what the client reads, with status 400."""


def strip_port(host: str) -> str:
    """The host without its port, an IPv6 literal without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and ":" not in name and (not port or port.isdecimal()) else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _parse_port(text: str) -> int:
    if _PORT.fullmatch(text) is None or not 0 < int(text) < 65536:
        raise TargetError("Invalid sandbox port")
    return int(text)


def parse_target(host: str, sandbox_id: str, port: str) -> Target:
    """The target of a request with this `Host` and these routing headers (empty when absent); `TargetError` when there is none.

    Routing headers count only on a host that cannot name a sandbox itself: `localhost`, an address, or `sandbox.<domain>`.
    """
    if len(host) + len(sandbox_id) + len(port) > _REMEMBERED_CHARACTERS:
        return _parse(host, sandbox_id, port)
    return _remembered(host, sandbox_id, port)


def _parse(host: str, sandbox_id: str, port: str) -> Target:
    bare = strip_port(host)
    shared = bare[len("sandbox.") :] if bare.startswith("sandbox.") else ""
    if (sandbox_id or port) and (shared or bare == "localhost" or _is_address(bare)):
        if not sandbox_id or not port:
            raise TargetError("missing header")
        number = _parse_port(port)
        domain: str | None = host[len("sandbox.") :] if shared else None
    else:
        label, dot, _ = bare.partition(".")
        parts = label.split("-")
        if not dot or len(parts) < 2:
            raise TargetError("Invalid host")
        number = _parse_port(parts[0])
        sandbox_id = parts[1]
        domain = None
    if _SANDBOX_ID.fullmatch(sandbox_id) is None:
        raise TargetError("Invalid sandbox ID")
    return Target(sandbox_id, number, domain)


_remembered = functools.lru_cache(maxsize=8192)(_parse)
