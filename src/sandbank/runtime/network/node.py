"""What the node itself must have switched on for sandboxes to reach the internet, and what of others may stand in the way."""

from __future__ import annotations

from pathlib import Path

from sandbank.runtime.linux import nftables
from sandbank.runtime.network.plan import NetworkPlan

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def enable_forwarding() -> str | None:
    """Let the node forward IPv4; the sentence for the operator when it did not before. It stays on: others may count on it by then."""
    if _FORWARDING.read_text().strip() == "1":
        return None
    _FORWARDING.write_text("1")
    return "net.ipv4.ip_forward was 0 and is now 1: sandboxes reach the internet through this node"


async def foreign_drops(plan: NetworkPlan) -> list[str]:
    """One warning for each firewall of others that refuses forwarded packets: an accept of ours does not overrule it.

    Not done for the operator: rules in Docker's or a firewall manager's chains vanish at its next restart, and are the operator's policy.
    """
    warnings = []
    for entry in await nftables.listing("chains"):
        chain = entry.get("chain", {})
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain.get("table") != plan.table:
            warnings.append(
                f"{chain['family']} {chain['table']} {chain['name']} drops forwarded packets by default (Docker does that), so "
                f"sandboxes may have no internet; allow them: iptables -I DOCKER-USER -i {plan.instance}+ -j ACCEPT && "
                f"iptables -I DOCKER-USER -o {plan.instance}+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT "
                f"(without Docker: the same in FORWARD)"
            )
    return warnings
