"""`SandboxNetworkEgressConfig` as the policy that a driver enforces (contract data-plane §10.7, §11.3)."""

from __future__ import annotations

from sandbank.contracts.orchestrator import SandboxConfig, SandboxNetworkEgressConfig
from sandbank.domain.errors import DeniedError, InvalidError
from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy

_EVERYTHING = frozenset({"0.0.0.0/0", "::/0"})


def parse_egress(config: SandboxConfig) -> EgressPolicy:
    """Whether the sandbox may reach the internet. Rules finer than all or nothing are refused rather than left out."""
    egress = config.network.egress
    check_egress(egress)
    denied = bool(egress.denied_cidrs) or (config.HasField("allow_internet_access") and not config.allow_internet_access)
    return CLOSED if denied else OPEN


def check_egress(egress: SandboxNetworkEgressConfig) -> None:
    """`DeniedError` for an egress proxy, `InvalidError` for rules that this node cannot enforce."""
    if egress.egress_proxy_address:
        raise DeniedError("egress proxies are not enabled on this node")
    allows = bool(egress.allowed_cidrs or egress.allowed_domains)
    if egress.rules or not _EVERYTHING.issuperset(egress.denied_cidrs) or (allows and egress.denied_cidrs):
        raise InvalidError("this node can only allow or deny all internet access of a sandbox")
