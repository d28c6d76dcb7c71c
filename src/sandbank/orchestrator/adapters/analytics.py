"""Events and measurements as rows of ClickHouse (contract templates-and-data §4, §9.4, data-plane §12)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from datetime import datetime

from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.contracts.orchestrator import SandboxConfig
from sandbank.domain.errors import UnavailableError
from sandbank.orchestrator.adapters.event_payload import event_payload
from sandbank.orchestrator.core.events import LifecycleEvent
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.orchestrator.core.usage import UsageSample

_FLUSH_SECONDS = 3.0
_REMEMBERED = 10_000
_NO_TEAM = uuid.UUID(int=0)

_METRICS = ("timestamp", "sandbox_id", "team_id", "metric_name", "value", "build_id", "sandbox_type")
_HOST_STATS = (
    "timestamp",
    "sandbox_id",
    "sandbox_execution_id",
    "sandbox_template_id",
    "sandbox_build_id",
    "sandbox_team_id",
    "sandbox_vcpu_count",
    "sandbox_memory_mb",
    "cgroup_cpu_usage_usec",
    "cgroup_memory_usage_bytes",
    "delta_cgroup_cpu_usage_usec",
    "interval_us",
)
_EVENTS = (
    "timestamp",
    "sandbox_id",
    "sandbox_execution_id",
    "sandbox_template_id",
    "sandbox_build_id",
    "sandbox_team_id",
    "event_category",
    "event_label",
    "type",
    "version",
    "event_data",
    "id",
    "events_ttl_days",
)


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def _team(sandbox: RunningSandbox) -> uuid.UUID:
    try:
        return uuid.UUID(sandbox.team_id)
    except ValueError:
        return _NO_TEAM


class Analytics:
    """Takes events and measurements of this node; whoever gives them waits for nothing. Runs from `run` to `stop`."""

    def __init__(self, client: ClickHouse) -> None:
        self._events = Batcher(client, "sandbox_events", _EVENTS)
        # A thousand sandboxes make 7,000 rows each five seconds: room for a minute of that.
        self._metrics = Batcher(client, "sandbox_metrics_gauge", _METRICS, kept=100_000)
        self._host_stats = Batcher(client, "sandbox_host_stats", _HOST_STATS, kept=20_000)
        self._origins: dict[str, tuple[str, str]] = {}

    async def run(self) -> None:
        """Write, until cancelled."""
        await asyncio.gather(self._events.run(), self._metrics.run(), self._host_stats.run())

    async def stop(self) -> None:
        """Write what is left, as far as that goes within some seconds."""
        with contextlib.suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                for batcher in (self._events, self._metrics, self._host_stats):
                    await batcher.flush()

    def emit(self, event: LifecycleEvent) -> None:
        """See `sandbank.orchestrator.core.ports.Events`."""
        payload = event_payload(event)
        self._events.add(
            (
                _nanoseconds(event.at),
                payload["sandbox_id"],
                payload["sandbox_execution_id"],
                payload["sandbox_template_id"],
                payload["sandbox_build_id"],
                _team(event.sandbox),
                payload["event_category"],
                payload["event_label"],
                payload["type"],
                payload["version"],
                json.dumps(payload["event_data"]),
                event.event_id,
                payload["events_ttl_days"],
            )
        )

    def record(self, usage: UsageSample) -> None:
        """One look at one sandbox."""
        sandbox, stats, at = usage.sandbox, usage.stats, _nanoseconds(usage.at)
        template_id, build_id = self._origin(sandbox)
        values = {
            "cpu.total": sandbox.vcpu,
            "cpu.used": usage.cpu_percent,
            "ram.total": stats.memory_limit_bytes,
            "ram.used": usage.memory_used_bytes,
            "ram.cache": stats.memory_cache_bytes,
            "disk.total": stats.disk_limit_bytes,
            "disk.used": stats.disk_bytes,
        }
        for name, value in values.items():
            self._metrics.add((at, sandbox.sandbox_id, sandbox.team_id, f"e2b.sandbox.{name}", float(value), build_id, "sandbox"))
        self._host_stats.add(
            (
                at,
                sandbox.sandbox_id,
                sandbox.execution_id,
                template_id,
                build_id,
                _team(sandbox),
                sandbox.vcpu,
                sandbox.memory_mib,
                int(stats.cpu_seconds * 1e6),
                stats.memory_bytes,
                max(int(usage.cpu_seconds_delta * 1e6), 0),
                max(int(usage.interval_seconds * 1e6), 0),
            )
        )

    def _origin(self, sandbox: RunningSandbox) -> tuple[str, str]:
        # Remembered: configurations are as large as their variables, and this is asked each five seconds.
        origin = self._origins.get(sandbox.execution_id)
        if origin is None:
            if len(self._origins) >= _REMEMBERED:
                self._origins.clear()
            config = SandboxConfig.FromString(sandbox.config)
            origin = self._origins[sandbox.execution_id] = (config.base_template_id or config.template_id, config.build_id)
        return origin
