"""From what a sandbox has used until now to what it uses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.runtime.driver import SandboxStats


@dataclass(frozen=True, slots=True)
class UsageSample:
    """One look. `interval_seconds` and `cpu_seconds_delta` are since the look before, or since its start; sizes in bytes."""

    sandbox: RunningSandbox
    at: datetime
    stats: SandboxStats
    interval_seconds: float
    cpu_seconds_delta: float

    @property
    def cpu_percent(self) -> float:
        """Of all its vCPUs together, 0 to 100."""
        if self.interval_seconds <= 0:
            return 0.0
        share = self.cpu_seconds_delta / self.interval_seconds / self.sandbox.vcpu
        return min(max(share, 0.0), 1.0) * 100

    @property
    def memory_used_bytes(self) -> int:
        """Without the page cache, which gives way."""
        return max(self.stats.memory_bytes - self.stats.memory_cache_bytes, 0)


def sample(sandbox: RunningSandbox, at: datetime, stats: SandboxStats, before: UsageSample | None) -> UsageSample:
    """What was used since `before`, if that was a look at the same execution."""
    if before is None or before.sandbox.execution_id != sandbox.execution_id:
        return UsageSample(sandbox, at, stats, (at - sandbox.started_at).total_seconds(), stats.cpu_seconds)
    return UsageSample(sandbox, at, stats, (at - before.at).total_seconds(), stats.cpu_seconds - before.stats.cpu_seconds)
