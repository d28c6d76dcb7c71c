"""`SandboxNetworkEgressConfig` as the policy that a driver enforces (contract data-plane §10.7, §11.3)."""

from __future__ import annotations

from ipaddress import ip_network

from sandbank.contracts.orchestrator import SandboxConfig, SandboxNetworkEgressConfig, SandboxUpdateRequest
from sandbank.domain.errors import InvalidError
from sandbank.runtime.driver import EgressPolicy, EgressProxy, ProxyTls

_EVERYTHING = "0.0.0.0/0"


def settle_egress(config: SandboxConfig) -> EgressPolicy:
    """The policy of a new sandbox; afterwards `config` says it in its egress rules alone. `InvalidError` for what makes no sense."""
    egress = config.network.egress
    if config.HasField("allow_internet_access") and not config.allow_internet_access and _EVERYTHING not in egress.denied_cidrs:
        egress.denied_cidrs.append(_EVERYTHING)
    return parse_egress(egress)


def replace_egress(config: SandboxConfig, request: SandboxUpdateRequest) -> EgressPolicy:
    """Put the update's rules into `config`, all of the old ones gone, and return what they mean. `InvalidError` as above."""
    policy = parse_egress(request.egress)
    config.network.egress.CopyFrom(request.egress)
    config.requested_network_json = request.requested_network_json
    if request.HasField("allow_internet_access"):
        config.allow_internet_access = request.allow_internet_access
    return policy


def parse_egress(egress: SandboxNetworkEgressConfig) -> EgressPolicy:
    """What a message means; an empty one allows everything."""
    for text in (*egress.allowed_cidrs, *egress.denied_cidrs):
        try:
            ip_network(text, strict=False)
        except ValueError as error:
            raise InvalidError(f"{text!r} is no network") from error
    headers: dict[str, dict[str, str]] = {}
    for domain, listed in egress.rules.items():
        for rule in listed.rules:
            headers.setdefault(domain, {}).update(rule.transform.headers)
    return EgressPolicy(
        allowed_cidrs=tuple(egress.allowed_cidrs),
        denied_cidrs=tuple(egress.denied_cidrs),
        allowed_domains=tuple(egress.allowed_domains),
        proxy=_proxy(egress),
        transforms={domain: found for domain, found in headers.items() if found},
    )


def _proxy(egress: SandboxNetworkEgressConfig) -> EgressProxy | None:
    if not egress.egress_proxy_address:
        return None
    host, _, port = egress.egress_proxy_address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 5) or not 0 < int(port) < 65536:
        raise InvalidError("the egress proxy's address is not host:port")
    tls = egress.egress_proxy_tls
    return EgressProxy(
        host=host,
        port=int(port),
        username=egress.egress_proxy_username or None,
        password=egress.egress_proxy_password or None,
        tls=ProxyTls(tls.server_name or None, tls.ca_cert or None) if egress.HasField("egress_proxy_tls") else None,
    )
