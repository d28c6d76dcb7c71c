"""The firewall's rules as nft's JSON: pure functions, tested by comparing."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from sandbank.runtime.linux.nftables import Command
from sandbank.runtime.network.plan import NetworkPlan
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot

Statement = dict[str, Any]
DROP: Statement = {"drop": None}
ACCEPT: Statement = {"accept": None}
# Contract data-plane §11.3, then what no packet from a sandbox has business with: this network, benchmarking, multicast, reserved.
NEVER_REACHED = (
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
# nft's priorities: conntrack runs at -200, destination NAT at -100, filters at 0, source NAT at 100.
_BEFORE_NAT, _NAT_IN, _BEFORE_FILTERS, _NAT_OUT = -150, -100, -10, 100


def _meta(key: str, value: object, operator: str = "==") -> Statement:
    return {"match": {"op": operator, "left": {"meta": {"key": key}}, "right": value}}


def _header(protocol: str, field: str, value: object, operator: str = "==") -> Statement:
    return {"match": {"op": operator, "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def _state(*states: str) -> Statement:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def _faster_than(per_second: int, burst: int) -> Statement:
    return {"limit": {"rate": per_second, "per": "second", "burst": burst, "inv": True}}


def _prefix(network: IPv4Network) -> dict[str, Any]:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def chain_name(index: int) -> str:
    """The chain that every packet from slot `index` goes through."""
    return f"slot_{index}"


def element(change: str, table: str, name: str, value: object) -> Command:
    """Add or delete one element of a set or map."""
    return {change: {"element": {"family": "inet", "table": table, "name": name, "elem": [value]}}}


def no_table(table: str) -> list[Command]:
    """Remove the table whether or not it is there."""
    return [{"add": {"table": {"family": "inet", "name": table}}}, {"delete": {"table": {"family": "inet", "name": table}}}]


def add_slot(table: str, slot: Slot, settings: NetworkSettings) -> list[Command]:
    """The slot's own chain: its source address, how much it may ask of what all share, then what holds for all; rules of one sandbox
    have their place between the last two.
    """
    chain = chain_name(slot.index)
    too_many_questions = _faster_than(settings.questions_per_second, settings.questions_burst)
    too_many_connections = _faster_than(settings.connections_per_second, settings.connections_burst)
    return [
        {"add": {"chain": {"family": "inet", "table": table, "name": chain}}},
        {"flush": {"chain": {"family": "inet", "table": table, "name": chain}}},
        _rule(table, chain, _header("ip", "saddr", slot.ip, "!="), DROP),
        _rule(table, chain, *_to_resolver(settings), too_many_questions, DROP),
        _rule(table, chain, _state("new"), too_many_connections, DROP),
        _rule(table, chain, _state("new"), {"ct count": {"val": settings.connection_limit, "inv": True}}, DROP),
        _rule(table, chain, {"jump": {"target": "every_slot"}}),
        _rule(table, chain, ACCEPT),
        element("add", table, "slots", [slot.link_name, {"goto": {"target": chain}}]),
    ]


def remove_slot(table: str, slot: Slot) -> list[Command]:
    """Succeeds also when some or all of it is missing: everything is added first."""
    chain: Command = {"chain": {"family": "inet", "table": table, "name": chain_name(slot.index)}}
    link = [slot.link_name, {"goto": {"target": chain_name(slot.index)}}]
    return [
        {"add": chain},
        element("add", table, "slots", link),
        element("delete", table, "slots", link),
        element("add", table, "offline", slot.link_name),
        element("delete", table, "offline", slot.link_name),
        {"flush": chain},
        {"delete": chain},
    ]


def table(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    """The whole table without any slot, replacing the one before."""
    return [
        *no_table(plan.table),
        {"add": {"table": {"family": "inet", "name": plan.table}}},
        *_sets(plan),
        *_chains(plan.table),
        *_from_slots(plan, settings),
        *_names(plan, settings),
        *_forwarding(plan),
        *_node(plan, settings),
    ]


def _sets(plan: NetworkPlan) -> list[Command]:
    common = {"family": "inet", "table": plan.table}
    never = [_prefix(IPv4Network(text)) for text in NEVER_REACHED]
    if not any(plan.subnet.subnet_of(IPv4Network(text)) for text in NEVER_REACHED):
        never.append(_prefix(plan.subnet))
    return [
        {"add": {"set": {**common, "name": "offline", "type": "ifname"}}},
        {"add": {"set": {**common, "name": "never_reached", "type": "ipv4_addr", "flags": ["interval"], "elem": never}}},
        {"add": {"map": {**common, "name": "slots", "type": "ifname", "map": "verdict"}}},
    ]


def _chains(table: str) -> list[Command]:
    hooked = (
        ("ingress", "filter", "prerouting", _BEFORE_NAT),
        ("names", "nat", "prerouting", _NAT_IN),
        ("forwarding", "filter", "forward", _BEFORE_FILTERS),
        ("to_node", "filter", "input", _BEFORE_FILTERS),
        ("from_node", "filter", "output", _BEFORE_FILTERS),
        ("masquerading", "nat", "postrouting", _NAT_OUT),
    )
    common = {"family": "inet", "table": table}
    return [
        *({"add": {"chain": {**common, "name": name}}} for name in ("from_slots", "every_slot")),
        *(
            {"add": {"chain": {**common, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}}
            for name, kind, hook, priority in hooked
        ),
    ]


def _rule(table: str, chain: str, *statements: Statement) -> Command:
    return {"add": {"rule": {"family": "inet", "table": table, "chain": chain, "expr": list(statements)}}}


def _rules(table: str, chain: str, rules: Sequence[Sequence[Statement]]) -> list[Command]:
    return [_rule(table, chain, *statements) for statements in rules]


def _to_resolver(settings: NetworkSettings) -> list[Statement]:
    return [
        _header("ip", "daddr", settings.resolver_address),
        _meta("l4proto", {"set": ["tcp", "udp"]}),
        _header("th", "dport", 53),
    ]


def _from_slots(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    """Judged before routing and before any destination NAT: on the address that the sandbox itself named."""
    not_unicast = {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "unicast"}}
    by_link: Statement = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@slots"}}
    return [
        *_rules(
            plan.table,
            "ingress",
            [
                [_meta("iifgroup", plan.doomed_group), DROP],
                [_meta("iifgroup", plan.group), {"jump": {"target": "from_slots"}}],
            ],
        ),
        # A link without a chain has no business sending yet, and there is no IPv6.
        *_rules(plan.table, "from_slots", [[_meta("nfproto", "ipv6"), DROP], [by_link], [DROP]]),
        *_rules(
            plan.table,
            "every_slot",
            [
                [_meta("iifname", "@offline"), DROP],
                [*_to_resolver(settings), ACCEPT],
                [not_unicast, DROP],
                [_header("ip", "daddr", "@never_reached"), DROP],
                [_state("established", "related"), ACCEPT],
                [_state("invalid"), DROP],
            ],
        ),
    ]


def _names(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    forwarder = {"dnat": {"family": "ip", "addr": plan.resolver_ip, "port": settings.resolver_port}}
    return [_rule(plan.table, "names", _meta("iifgroup", plan.group), *_to_resolver(settings), forwarder)]


def _forwarding(plan: NetworkPlan) -> list[Command]:
    outward, inward = _meta("iifgroup", plan.group), _meta("oifgroup", plan.group)
    return [
        *_rules(
            plan.table,
            "forwarding",
            [
                [_meta("oifgroup", plan.doomed_group), DROP],
                [outward, inward, DROP],
                [inward, _state("established", "related"), ACCEPT],
                [inward, DROP],
                # Somebody else's destination NAT on this node may have led a public address to a private one.
                [outward, _header("ip", "daddr", "@never_reached"), DROP],
            ],
        ),
        _rule(
            plan.table,
            "masquerading",
            _header("ip", "saddr", _prefix(plan.subnet)),
            {**_meta("oifgroup", plan.group, "!=")},
            {"masquerade": None},
        ),
    ]


def _node(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    to_forwarder = [
        _header("ip", "daddr", plan.resolver_ip),
        _meta("l4proto", {"set": ["tcp", "udp"]}),
        _header("th", "dport", settings.resolver_port),
    ]
    return [
        *_rules(
            plan.table,
            "to_node",
            [
                [_meta("iifgroup", plan.group), *to_forwarder, ACCEPT],
                [_meta("iifgroup", plan.group), DROP],
                [_header("ip", "daddr", plan.resolver_ip), DROP],
            ],
        ),
        # Nothing on the node opens a connection to a sandbox this way: it dials inside.
        *_rules(
            plan.table,
            "from_node",
            [
                [_meta("oifgroup", plan.group), _state("established", "related"), ACCEPT],
                [_meta("oifgroup", plan.group), DROP],
                [_meta("oifgroup", plan.doomed_group), DROP],
            ],
        ),
    ]
