"""The firewall's rules of one slot: what holds for any tenant, and what its tenant's policy says."""

from __future__ import annotations

from ipaddress import IPv4Network

from sandbank.runtime.linux.nftables import Command
from sandbank.runtime.network.egress.verdict import ALL_IPV4, Judge
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.slot import Slot
from sandbank.runtime.network.statements import (
    ACCEPT,
    DROP,
    REDIRECTED,
    Statement,
    chain,
    element,
    faster_than,
    go,
    header,
    meta,
    prefix,
    rule,
    state,
)

WEB_PORTS = (80, 443)
REFUSED = "refused"
BY_NAME, TUNNELLED = "by_name", "tunnelled"  # sets of links: whose web connections, whose connections altogether the proxy gets


def chain_name(index: int) -> str:
    """The chain that every packet from slot `index` goes through."""
    return f"slot_{index}"


def egress_name(index: int) -> str:
    """The chain of what its tenant may reach, replaced as a whole; apart from the other so that its counts of connections stay."""
    return f"egress_{index}"


def to_resolver(settings: NetworkSettings) -> list[Statement]:
    """Matches questions to the name server in sandboxes' resolv.conf."""
    return [
        header("ip", "daddr", settings.resolver_address),
        meta("l4proto", {"set": ["tcp", "udp"]}),
        header("th", "dport", 53),
    ]


def add_slot(table: str, slot: Slot, settings: NetworkSettings) -> list[Command]:
    """Its source address, how much it may ask of what all share, what holds for all, then its tenant's policy: none yet."""
    name, egress = chain_name(slot.index), egress_name(slot.index)
    too_many_questions = faster_than(settings.questions_per_second, settings.questions_burst)
    too_many_connections = faster_than(settings.connections_per_second, settings.connections_burst)
    return [
        {"add": chain(table, egress)},
        {"flush": chain(table, egress)},
        {"add": chain(table, name)},
        {"flush": chain(table, name)},
        rule(table, name, header("ip", "saddr", slot.ip, "!="), DROP),
        rule(table, name, *to_resolver(settings), too_many_questions, DROP),
        rule(table, name, state("new"), too_many_connections, DROP),
        rule(table, name, state("new"), {"ct count": {"val": settings.connection_limit, "inv": True}}, DROP),
        rule(table, name, go("jump", "every_slot")),
        rule(table, name, go("jump", egress)),
        rule(table, name, ACCEPT),
        element("add", table, "slots", [slot.link_name, go("goto", name)]),
    ]


def remove_slot(table: str, slot: Slot) -> list[Command]:
    """Succeeds also when some or all of it is missing: everything is added first."""
    name, egress = chain_name(slot.index), egress_name(slot.index)
    link = [slot.link_name, go("goto", name)]
    return [
        {"add": chain(table, egress)},
        {"add": chain(table, name)},
        element("add", table, "slots", link),
        element("delete", table, "slots", link),
        *_not_redirected(table, slot),
        {"flush": chain(table, name)},
        {"delete": chain(table, name)},
        {"flush": chain(table, egress)},
        {"delete": chain(table, egress)},
    ]


def set_policy(table: str, slot: Slot, judge: Judge, settings: NetworkSettings) -> list[Command]:
    """Replace what the tenant may reach. Every packet is judged, not only the first of a connection: what is denied ends at once."""
    egress = egress_name(slot.index)
    commands: list[Command] = [{"flush": chain(table, egress)}, *_not_redirected(table, slot)]
    tcp = meta("l4proto", "tcp")
    if judge.takes_all_tcp or judge.looks_at_names:
        # The name server's address first: connections to it are redirected, too, but to the forwarder, which judges nobody.
        answer = ACCEPT if judge.of(None, settings.resolver_address).allowed else go("goto", REFUSED)
        commands.append(rule(table, egress, *to_resolver(settings), answer))
        ports = [] if judge.takes_all_tcp else [header("tcp", "dport", {"set": list(WEB_PORTS)})]
        # An older connection of the sandbox's own, not by the proxy, is judged by its address like any other.
        commands.append(rule(table, egress, tcp, *ports, state("new"), ACCEPT))
        commands.append(rule(table, egress, tcp, *ports, REDIRECTED, ACCEPT))
        commands.append(element("add", table, TUNNELLED if judge.takes_all_tcp else BY_NAME, slot.link_name))
    if judge.denied:
        denied = [] if judge.denied.networks == [ALL_IPV4] else [header("ip", "daddr", _set(judge.denied.networks))]
        allowed = [header("ip", "daddr", _set(judge.allowed.networks), "!=")] if judge.allowed else []
        commands.append(rule(table, egress, *denied, *allowed, go("goto", REFUSED)))
    return commands


def _set(networks: list[IPv4Network]) -> dict[str, object]:
    return {"set": [prefix(network) for network in networks]}


def _not_redirected(table: str, slot: Slot) -> list[Command]:
    return [element(change, table, name, slot.link_name) for name in (BY_NAME, TUNNELLED) for change in ("add", "delete")]
