"""What no sandbox reaches, whatever it is allowed (contract data-plane §11.3): said once for the API's checks and the node's firewall."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# The contract's, then what no packet from a sandbox has business with: this network, benchmarking, multicast, reserved.
INTERNAL_IPV4 = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "0.0.0.0/8",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_V4 = tuple(map(IPv4Network, INTERNAL_IPV4))
_V6 = tuple(map(IPv6Network, ("::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8")))


def is_internal(text: str) -> bool:
    """Whether an address is out of reach; `ValueError` for what is none. An IPv4 address within an IPv6 one counts as itself."""
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return any(address in network for network in _V6)
        address = address.ipv4_mapped
    return any(address in network for network in _V4)
