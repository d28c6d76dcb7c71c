"""nft's JSON vocabulary, as far as the firewall needs it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from sandbank.runtime.linux.nftables import Command

Statement = dict[str, Any]
DROP: Statement = {"drop": None}
ACCEPT: Statement = {"accept": None}
RETURN: Statement = {"return": None}
RESET: Statement = {"reject": {"type": "tcp reset"}}
NOT_UNICAST: Statement = {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "unicast"}}
REDIRECTED: Statement = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}


def meta(key: str, value: object, operator: str = "==") -> Statement:
    """A property of the packet that is in no header."""
    return {"match": {"op": operator, "left": {"meta": {"key": key}}, "right": value}}


def header(protocol: str, field: str, value: object, operator: str = "==") -> Statement:
    """A header's field; `th` is whatever transport it is."""
    return {"match": {"op": operator, "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def state(*states: str) -> Statement:
    """The state of the connection that the packet belongs to."""
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def faster_than(per_second: int, burst: int) -> Statement:
    """Matches what comes faster."""
    return {"limit": {"rate": per_second, "per": "second", "burst": burst, "inv": True}}


def go(kind: str, chain: str) -> Statement:
    """`jump` comes back, `goto` does not."""
    return {kind: {"target": chain}}


def dnat(address: str, port: int) -> Statement:
    """Redirect to an address of the node."""
    return {"dnat": {"family": "ip", "addr": address, "port": port}}


def prefix(network: IPv4Network) -> dict[str, Any]:
    """A network as a set's element or a match's right side."""
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def chain(table: str, name: str) -> Command:
    """A chain as an object of commands."""
    return {"chain": {"family": "inet", "table": table, "name": name}}


def rule(table: str, name: str, *statements: Statement) -> Command:
    """One rule at the end of a chain."""
    return {"add": {"rule": {"family": "inet", "table": table, "chain": name, "expr": list(statements)}}}


def rules(table: str, name: str, lines: Sequence[Sequence[Statement]]) -> list[Command]:
    """Rules at the end of a chain, in order."""
    return [rule(table, name, *statements) for statements in lines]


def element(change: str, table: str, name: str, value: object) -> Command:
    """Add or delete one element of a set or map."""
    return {change: {"element": {"family": "inet", "table": table, "name": name, "elem": [value]}}}
