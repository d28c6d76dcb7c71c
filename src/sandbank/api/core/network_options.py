"""The `network` object of a create request (REST contract §10.1): what of it is granted, and what is refused rather than ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbank.domain.errors import InvalidError

# A rule that is accepted and not enforced is a hole that its owner cannot see.
_NOT_ENFORCED = ("allowOut", "denyOut", "rules", "egressProxy", "dnsServers")
_MASK = re.compile(r"[A-Za-z0-9._-]+(:(\d{1,5}|\$\{PORT\}))?|\[[0-9A-Fa-f:.]+\](:(\d{1,5}|\$\{PORT\}))?")


_AGENT_PORT = 49983


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What a client asked for; `requested` is its own object, to be echoed."""

    public_traffic: bool = True
    mask_request_host: str | None = None
    https_ports: tuple[int, ...] = ()
    requested: Mapping[str, Any] | None = None


def _check_mask(mask: str) -> None:
    if not mask.isascii():
        raise InvalidError(f"mask request host '{mask}' is not ASCII. Please use ASCII characters only.")
    if _MASK.fullmatch(mask.replace("${PORT}.", "0.").replace("${PORT}-", "0-")) is None:
        raise InvalidError(f"mask request host is not valid: {mask}")


def _check_https_ports(ports: Sequence[int]) -> None:
    for port in ports:
        if not 1 <= port <= 65535:
            raise InvalidError(f"invalid port {port} in httpsPorts: must be between 1 and 65535")
        if port == _AGENT_PORT:
            raise InvalidError(f"port {_AGENT_PORT} cannot be listed in httpsPorts: it belongs to the agent in the sandbox")


def parse_network(requested: Mapping[str, Any] | None, *, secure: bool) -> NetworkOptions:
    """Check the object; `InvalidError` for what is wrong and for what this release would not enforce."""
    if requested is None:
        return NetworkOptions()
    for name in _NOT_ENFORCED:
        if requested.get(name):
            raise InvalidError(f"network.{name} is not supported by this release of Sandbank, and a rule that nothing enforces is refused")
    mask = requested.get("maskRequestHost")
    if mask is not None:
        _check_mask(mask)
    https_ports = requested.get("httpsPorts") or ()
    _check_https_ports(https_ports)
    public = requested.get("allowPublicTraffic") is not False
    if not public and not secure:
        raise InvalidError("You cannot create a sandbox without public access unless you enable secure envd access via 'secure' flag.")
    return NetworkOptions(public_traffic=public, mask_request_host=mask, https_ports=tuple(sorted(set(https_ports))), requested=requested)
