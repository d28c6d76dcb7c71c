"""How this proxy is, for balancers and machines that ask (contract data-plane §8.3)."""

from __future__ import annotations

import enum


class ProxyStatus(enum.Enum):
    """`UNHEALTHY` until it can serve and when it ends, `DRAINING` while requests under way end."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"


class Readiness:
    """Whether this proxy wants traffic (`ready`); `stopping` once its end has begun, `terminating` when traffic has ended."""

    def __init__(self) -> None:
        self.ready = False
        self.stopping = False
        self.terminating = False

    def __call__(self) -> bool:
        return self.ready

    def status(self, *, knows_a_node: bool) -> ProxyStatus:
        """With no orchestrator seen since the start there is nobody to send traffic to."""
        if self.terminating or not knows_a_node:
            return ProxyStatus.UNHEALTHY
        if self.ready:
            return ProxyStatus.HEALTHY
        return ProxyStatus.DRAINING if self.stopping else ProxyStatus.UNHEALTHY
