"""The firewall's rules as nft's JSON: pure functions, tested by comparing."""

from __future__ import annotations

from ipaddress import IPv4Network, collapse_addresses

from sandbank.domain.internal_networks import INTERNAL_IPV4
from sandbank.runtime.linux.nftables import Command
from sandbank.runtime.network.plan import NetworkPlan
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot_rules import BY_NAME, REFUSED, TUNNELLED, WEB_PORTS, to_resolver
from sandbank.runtime.network.statements import (
    ACCEPT,
    DROP,
    NOT_UNICAST,
    REDIRECTED,
    RESET,
    RETURN,
    Statement,
    dnat,
    go,
    header,
    meta,
    prefix,
    rule,
    rules,
    state,
)

# nft's priorities: conntrack runs at -200, destination NAT at -100, filters at 0, source NAT at 100.
_BEFORE_NAT, _NAT_IN, _BEFORE_FILTERS, _NAT_OUT = -150, -100, -10, 100


def no_table(table: str) -> list[Command]:
    """Remove the table whether or not it is there."""
    return [{"add": {"table": {"family": "inet", "name": table}}}, {"delete": {"table": {"family": "inet", "name": table}}}]


def table(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    """The whole table without any slot, replacing the one before."""
    return [
        *no_table(plan.table),
        {"add": {"table": {"family": "inet", "name": plan.table}}},
        *_sets(plan),
        *_chains(plan.table),
        *_from_slots(plan, settings),
        *_redirection(plan, settings),
        *_forwarding(plan),
        *_node(plan, settings),
    ]


def never_reached(plan: NetworkPlan) -> list[IPv4Network]:
    """What no sandbox of this node reaches, its own network included; sorted and without overlaps."""
    return list(collapse_addresses([*map(IPv4Network, INTERNAL_IPV4), plan.subnet]))


def _sets(plan: NetworkPlan) -> list[Command]:
    common = {"family": "inet", "table": plan.table}
    never = [prefix(network) for network in never_reached(plan)]
    return [
        *({"add": {"set": {**common, "name": name, "type": "ifname"}}} for name in (BY_NAME, TUNNELLED)),
        {"add": {"set": {**common, "name": "never_reached", "type": "ipv4_addr", "flags": ["interval"], "elem": never}}},
        {"add": {"map": {**common, "name": "slots", "type": "ifname", "map": "verdict"}}},
    ]


def _chains(table: str) -> list[Command]:
    hooked = (
        ("ingress", "filter", "prerouting", _BEFORE_NAT),
        ("redirection", "nat", "prerouting", _NAT_IN),
        ("forwarding", "filter", "forward", _BEFORE_FILTERS),
        ("to_node", "filter", "input", _BEFORE_FILTERS),
        ("from_node", "filter", "output", _BEFORE_FILTERS),
        ("masquerading", "nat", "postrouting", _NAT_OUT),
    )
    common = {"family": "inet", "table": table}
    return [
        *({"add": {"chain": {**common, "name": name}}} for name in ("from_slots", "every_slot", REFUSED)),
        *(
            {"add": {"chain": {**common, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}}
            for name, kind, hook, priority in hooked
        ),
    ]


def _from_slots(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    """Judged before routing and before any destination NAT: on the address that the sandbox itself named."""
    by_link: Statement = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@slots"}}
    return [
        *rules(
            plan.table,
            "ingress",
            [
                [meta("iifgroup", plan.doomed_group), DROP],
                [meta("iifgroup", plan.group), go("jump", "from_slots")],
            ],
        ),
        # A link without a chain has no business sending yet, and there is no IPv6.
        *rules(plan.table, "from_slots", [[meta("nfproto", "ipv6"), DROP], [by_link], [DROP]]),
        *rules(
            plan.table,
            "every_slot",
            [
                [*to_resolver(settings), RETURN],
                [NOT_UNICAST, DROP],
                [header("ip", "daddr", "@never_reached"), DROP],
                [state("invalid"), DROP],
            ],
        ),
        # Refused at once, so that nobody waits.
        *rules(plan.table, REFUSED, [[meta("l4proto", "tcp"), RESET], [DROP]]),
    ]


def _redirection(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    proxy = dnat(plan.resolver_ip, settings.egress_port)
    tcp = meta("l4proto", "tcp")
    return rules(
        plan.table,
        "redirection",
        [
            [meta("iifgroup", plan.group), *to_resolver(settings), dnat(plan.resolver_ip, settings.resolver_port)],
            [meta("iifname", f"@{BY_NAME}"), tcp, header("tcp", "dport", {"set": list(WEB_PORTS)}), proxy],
            [meta("iifname", f"@{TUNNELLED}"), tcp, proxy],
        ],
    )


def _forwarding(plan: NetworkPlan) -> list[Command]:
    outward, inward = meta("iifgroup", plan.group), meta("oifgroup", plan.group)
    return [
        *rules(
            plan.table,
            "forwarding",
            [
                [meta("oifgroup", plan.doomed_group), DROP],
                [outward, inward, DROP],
                [inward, state("established", "related"), ACCEPT],
                [inward, DROP],
                # Somebody else's destination NAT on this node may have led a public address to a private one.
                [outward, header("ip", "daddr", "@never_reached"), DROP],
            ],
        ),
        rule(
            plan.table,
            "masquerading",
            header("ip", "saddr", prefix(plan.subnet)),
            {**meta("oifgroup", plan.group, "!=")},
            {"masquerade": None},
        ),
    ]


def _node(plan: NetworkPlan, settings: NetworkSettings) -> list[Command]:
    ours = header("ip", "daddr", plan.resolver_ip)
    to_forwarder = [ours, meta("l4proto", {"set": ["tcp", "udp"]}), header("th", "dport", settings.resolver_port)]
    to_proxy = [ours, meta("l4proto", "tcp"), header("tcp", "dport", settings.egress_port)]
    from_proxy = header("ip", "saddr", plan.resolver_ip)
    return [
        *rules(
            plan.table,
            "to_node",
            [
                [meta("iifgroup", plan.group), *to_forwarder, ACCEPT],
                # Only what was redirected: nobody talks to the proxy itself.
                [meta("iifgroup", plan.group), *to_proxy, REDIRECTED, ACCEPT],
                [meta("iifgroup", plan.group), DROP],
                [ours, state("established", "related"), ACCEPT],
                [ours, DROP],
            ],
        ),
        # Nothing on the node opens a connection to a sandbox this way: it dials inside.
        *rules(
            plan.table,
            "from_node",
            [
                [meta("oifgroup", plan.group), state("established", "related"), ACCEPT],
                [meta("oifgroup", plan.group), DROP],
                [meta("oifgroup", plan.doomed_group), DROP],
                # What the egress proxy dials for sandboxes: no farther than they could reach themselves, whatever a name resolved to.
                [from_proxy, header("ip", "daddr", "@never_reached"), go("goto", REFUSED)],
                [from_proxy, NOT_UNICAST, go("goto", REFUSED)],
            ],
        ),
    ]
