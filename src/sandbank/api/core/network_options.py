"""The `network` object of a create request (REST contract §10.1)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbank.api.core.egress import FIELDS as EGRESS_FIELDS
from sandbank.api.core.egress import NO_WISH, EgressWish, check_resolved, is_address, parse_egress, split_address
from sandbank.api.core.payload import check_network
from sandbank.domain.errors import DeniedError, InvalidError

_MASK = re.compile(r"[A-Za-z0-9._-]+(:(\d{1,5}|\$\{PORT\}))?|\[[0-9A-Fa-f:.]+\](:(\d{1,5}|\$\{PORT\}))?")
_AGENT_PORT = 49983
Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What a client asked for; `requested` is its own object without credentials, to be echoed."""

    public_traffic: bool = True
    mask_request_host: str | None = None
    https_ports: tuple[int, ...] = ()
    requested: Mapping[str, Any] | None = None
    egress: EgressWish = NO_WISH


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


@dataclass(frozen=True, slots=True)
class NetworkFeatures:
    """What this installation offers (REST contract §6)."""

    egress_proxy: bool = True
    rules: bool = True


class NetworkChecker:
    """Checks network options; `resolve` gives the addresses of a name, none when it has none."""

    def __init__(self, features: NetworkFeatures, resolve: Resolve) -> None:
        self._features = features
        self._resolve = resolve

    async def check(
        self, requested: Mapping[str, Any] | None, allow_internet_access: bool | None, *, envd_version: str, secure: bool
    ) -> NetworkOptions:
        """The options of a create. `InvalidError` for what is wrong, `DeniedError` for a proxy where none is offered."""
        sent = requested or {}
        mask = sent.get("maskRequestHost")
        if mask is not None:
            _check_mask(mask)
        https_ports = sent.get("httpsPorts") or ()
        _check_https_ports(https_ports)
        denial = "Egress proxy (network.egressProxy) is not enabled for this team."
        egress = await self.check_egress(sent, allow_internet_access, envd_version=envd_version, denial=denial)
        public = sent.get("allowPublicTraffic") is not False
        if not public and not secure:
            raise InvalidError("You cannot create a sandbox without public access unless you enable secure envd access via 'secure' flag.")
        return NetworkOptions(
            public_traffic=public,
            mask_request_host=mask,
            https_ports=tuple(sorted(set(https_ports))),
            requested=None if requested is None else echoed(requested, egress),
            egress=egress,
        )

    async def check_egress(
        self, sent: Mapping[str, Any], allow_internet_access: bool | None, *, envd_version: str, denial: str
    ) -> EgressWish:
        """The egress fields of a create or an update; `denial` is what is said where proxies are not offered."""
        check_network(sent)  # before anything that takes time with each entry
        egress = parse_egress(sent, allow_internet_access, envd_version=envd_version, rules_enabled=self._features.rules)
        if egress.proxy is not None:
            if not self._features.egress_proxy:
                raise DeniedError(denial)
            host, _ = split_address(egress.proxy.address)
            if not is_address(host):
                check_resolved(await self._resolve(host))
        return egress


def echoed(before: Mapping[str, Any], egress: EgressWish) -> dict[str, Any]:
    """What GET shows: of `before` what concerns traffic inwards, and the egress fields of now."""
    return {name: value for name, value in before.items() if name not in EGRESS_FIELDS} | dict(egress.echo)
