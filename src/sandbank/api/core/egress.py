"""What a client may ask of a sandbox's way out (REST contract §10.1, §10.3): checked, in its own words, and as a node is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import idna

from sandbank.api.core.network_rules import check_rules
from sandbank.domain.errors import InvalidError
from sandbank.domain.internal_networks import is_internal

ALL_TRAFFIC = "0.0.0.0/0"
FIELDS = ("allowOut", "denyOut", "egressProxy", "rules", "dnsServers")
_DEFAULT_DNS = ("8.8.8.8",)
_MAX_DNS_SERVERS = 10
_MAX_CREDENTIAL_BYTES = 255  # RFC 1929
_MAX_SERVER_NAME, _MAX_CERTIFICATE_BYTES = 253, 8192
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ProxyWish:
    """A SOCKS5 proxy. `tls` is None for cleartext, else (server name, CA certificate)."""

    address: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: tuple[str | None, str | None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EgressWish:
    """What a node is told. `echo` is what the client sees again: its own words, without the proxy's password and certificate."""

    allowed_cidrs: tuple[str, ...] = ()
    denied_cidrs: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    proxy: ProxyWish | None = None
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    echo: Mapping[str, Any] = field(default_factory=dict)


NO_WISH = EgressWish()


def parse_egress(sent: Mapping[str, Any], allow_internet_access: bool | None, *, envd_version: str, rules_enabled: bool) -> EgressWish:
    """Check the egress fields of `sent`. `InvalidError` in the contract's words."""
    denied = [_denied(text) for text in sent.get("denyOut") or ()]
    addresses, domains = _allowed(sent.get("allowOut") or ())
    if domains and ALL_TRAFFIC not in denied:
        raise InvalidError(
            "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out to block all other traffic."
        )
    servers = _dns_servers(sent.get("dnsServers"))
    if domains:
        addresses += [f"{server}/32" for server in servers]
    if allow_internet_access is False:
        denied.append(ALL_TRAFFIC)
    rules = check_rules(sent.get("rules") or {}, envd_version=envd_version, enabled=rules_enabled)
    proxy = sent.get("egressProxy")
    return EgressWish(
        allowed_cidrs=tuple(dict.fromkeys(addresses)),
        denied_cidrs=tuple(dict.fromkeys(denied)),
        allowed_domains=tuple(dict.fromkeys(domains)),
        proxy=None if proxy is None else parse_proxy(proxy),
        rules=rules,
        echo=_echo(sent),
    )


def _echo(sent: Mapping[str, Any]) -> dict[str, Any]:
    echo = {name: sent[name] for name in FIELDS if sent.get(name) is not None}
    if "egressProxy" in echo:
        proxy = {name: value for name, value in echo["egressProxy"].items() if name != "password"}
        if proxy.get("tls"):
            proxy["tls"] = {name: value for name, value in proxy["tls"].items() if name != "caCert"}
        echo["egressProxy"] = proxy
    return echo


def _network(text: str) -> str | None:
    """A network in its canonical form, host bits and all; None for what is none. `0.0.0.0` alone is nobody's address."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    if network.prefixlen == network.max_prefixlen and int(network.network_address) == 0:
        return None
    return str(network)


def _denied(text: str) -> str:
    network = _network(text)
    if network is None:
        raise InvalidError(f"invalid denied CIDR {text}")
    return network


def _allowed(entries: Sequence[str]) -> tuple[list[str], list[str]]:
    addresses, domains = [], []
    for text in entries:
        network = _network(text)
        if network is not None:
            addresses.append(network)
        else:
            domains.append(_domain(text))
    return addresses, domains


def _domain(text: str) -> str:
    if text == "*":
        return text
    wild, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        name = name.removesuffix(".").lower()
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InvalidError(f"invalid allowed address or domain {text}") from error
    if _DOMAIN.fullmatch(name) is None:
        raise InvalidError(f"invalid allowed address or domain {text}")
    return wild + name


def _dns_servers(servers: Sequence[str] | None) -> Sequence[str]:
    if servers is None:
        return _DEFAULT_DNS
    if len(servers) > _MAX_DNS_SERVERS:
        raise InvalidError(f"dnsServers can have at most {_MAX_DNS_SERVERS} addresses")
    for server in servers:
        try:
            IPv4Address(server)
        except ValueError as error:
            raise InvalidError(f"invalid DNS server {server}: must be an IPv4 address") from error
    return servers


def parse_proxy(sent: Mapping[str, Any]) -> ProxyWish:
    """`InvalidError` `Invalid egress proxy config: …`; an address literal must be a public one, a name is for `resolve` to judge."""
    host, port = split_address(sent["address"])
    if not is_address(host):
        host = host.lower().removesuffix(".")
        if _DOMAIN.fullmatch(host) is None:
            raise _invalid_proxy("address must be host:port")
    elif is_internal(host):
        raise _invalid_proxy("address must not be internal")
    elif ip_address(host).version != 4:
        raise _invalid_proxy("address must be an IPv4 address or a name")
    username, password = sent.get("username") or None, sent.get("password") or None
    for name, value in (("username", username), ("password", password)):
        if value is not None and len(value.encode()) > _MAX_CREDENTIAL_BYTES:
            raise _invalid_proxy(f"{name} must be at most {_MAX_CREDENTIAL_BYTES} bytes")
    if password is not None and username is None:
        raise _invalid_proxy("password requires username")
    return ProxyWish(f"{host}:{port}", username, password, _tls(sent.get("tls")))


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; `InvalidError` otherwise."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
        raise _invalid_proxy("address must be host:port")
    return host, int(port)


def is_address(host: str) -> bool:
    """Whether this is an address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def check_resolved(addresses: Sequence[str]) -> None:
    """`InvalidError` when a proxy's name leads nowhere, or inside."""
    if not addresses:
        raise _invalid_proxy("address cannot be resolved")
    if any(is_internal(address) for address in addresses):
        raise _invalid_proxy("address must not resolve to an internal IP")


def _tls(sent: Mapping[str, Any] | None) -> tuple[str | None, str | None] | None:
    if sent is None or not sent["enabled"]:
        return None
    name, certificate = sent.get("serverName") or None, sent.get("caCert") or None
    if name is not None and (len(name) > _MAX_SERVER_NAME or not name.isascii()):
        raise _invalid_proxy(f"tls.serverName must be at most {_MAX_SERVER_NAME} characters")
    if certificate is not None and (len(certificate.encode()) > _MAX_CERTIFICATE_BYTES or "BEGIN CERTIFICATE" not in certificate):
        raise _invalid_proxy(f"tls.caCert must be a PEM certificate of at most {_MAX_CERTIFICATE_BYTES} bytes")
    return name, certificate


def _invalid_proxy(reason: str) -> InvalidError:
    return InvalidError(f"Invalid egress proxy config: {reason}")
