"""What a policy says of one destination: pure, and the same order as the firewall's rules (contract data-plane §11.3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network

from sandbank.runtime.driver import EgressPolicy

ALL_IPV4 = IPv4Network("0.0.0.0/0")


def networks(cidrs: Iterable[str]) -> list[IPv4Network]:
    """The IPv4 ones, merged and sorted; of IPv6 there is none in a sandbox. `ValueError` for what is no network."""
    return list(collapse_addresses(network for text in cidrs if isinstance(network := ip_network(text, strict=False), IPv4Network)))


class AddressSet:
    """IPv4 networks with a quick answer to whether an address is in one."""

    def __init__(self, members: Iterable[IPv4Network]) -> None:
        self.networks = list(members)
        self._first = [int(network.network_address) for network in self.networks]
        self._last = [int(network.broadcast_address) for network in self.networks]

    def __contains__(self, address: str) -> bool:
        number = int(IPv4Address(address))
        place = bisect_right(self._first, number) - 1
        return place >= 0 and number <= self._last[place]

    def __bool__(self) -> bool:
        return bool(self.networks)


class NameSet:
    """Domains: exact ones, `*.` before what is below it at any depth, `*` for any."""

    def __init__(self, domains: Iterable[str]) -> None:
        given = set(domains)
        self._any = "*" in given
        self._exact = {name for name in given if not name.startswith("*")}
        self._parents = {name[2:] for name in given if name.startswith("*.")}

    def __contains__(self, name: str) -> bool:
        """`name` in lower case and without a final dot."""
        return self._any or name in self._exact or any(parent in self._parents for parent in _parents(name))

    def __bool__(self) -> bool:
        return bool(self._any or self._exact or self._parents)


def _parents(name: str) -> Iterable[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a connection may be made, and if it is made to the name and not to the address."""

    allowed: bool
    by_name: bool = False


class Judge:
    """One policy, compiled."""

    def __init__(self, policy: EgressPolicy) -> None:
        self.policy = policy
        self.allowed = AddressSet(networks(policy.allowed_cidrs))
        self.denied = AddressSet(networks(policy.denied_cidrs))
        self._names = NameSet(policy.allowed_domains)
        self._transformed = NameSet(policy.transforms)

    @property
    def looks_at_names(self) -> bool:
        """Whether what the client asks for matters, and not only the address that it asks."""
        return bool(self._names) or bool(self._transformed)

    @property
    def takes_all_tcp(self) -> bool:
        """Whether every connection goes through the egress proxy, whatever its port."""
        return self.policy.proxy is not None

    def of(self, name: str | None, address: str) -> Verdict:
        """Allow beats deny, and a name beats addresses."""
        if name is not None and name in self._names:
            return Verdict(allowed=True, by_name=True)
        allowed = address in self.allowed or address not in self.denied
        # Secrets are put into requests to this name: they must not go where the sandbox says that the name is.
        return Verdict(allowed, by_name=allowed and name is not None and name in self._transformed)
