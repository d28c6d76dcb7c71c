"""A lifecycle event as others read it, version 2 (contract data-plane §12.1, templates-and-data §9.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbank.contracts.orchestrator import SandboxConfig
from sandbank.orchestrator.core.events import CHECKPOINTED, CREATED, KILLED, PAUSED, RESUMED, UPDATED, LifecycleEvent

_MAX_TTL_DAYS, _TTL_DAYS = 365, 7
# The names that readers of older days know.
_LABELS = {CREATED: "create", KILLED: "kill", UPDATED: "update", PAUSED: "pause", RESUMED: "resume", CHECKPOINTED: "checkpoint"}


def event_payload(event: LifecycleEvent) -> dict[str, Any]:
    """The object, ready for JSON."""
    config = SandboxConfig.FromString(event.sandbox.config)
    return {
        "id": str(event.event_id),
        "version": "v2",
        "type": f"sandbox.lifecycle.{event.kind}",
        "timestamp": _rfc3339(event.at),
        "event_category": "lifecycle",
        "event_label": _LABELS[event.kind],
        "event_data": _event_data(event, config),
        "sandbox_id": event.sandbox.sandbox_id,
        "sandbox_execution_id": event.sandbox.execution_id,
        "sandbox_template_id": config.base_template_id or config.template_id,
        "sandbox_build_id": config.build_id,
        "sandbox_team_id": event.sandbox.team_id,
        "events_ttl_days": min(config.events_ttl_days or _TTL_DAYS, _MAX_TTL_DAYS),
    }


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _event_data(event: LifecycleEvent, config: SandboxConfig) -> dict[str, Any]:
    data: dict[str, Any] = {"sandbox_metadata": dict(config.metadata)} if config.metadata else {}
    if event.kind in (KILLED, PAUSED):
        lasted = event.at - event.sandbox.started_at
        data["execution"] = {
            "started_at": _rfc3339(event.sandbox.started_at),
            "vcpu_count": event.sandbox.vcpu,
            "memory_mb": event.sandbox.memory_mib,
            "execution_time": max(int(lasted.total_seconds() * 1000), 0),
        }
    if event.kill_reason is not None:
        data["kill_reason"] = event.kill_reason
    if event.end_moved:
        data["set_timeout"] = _rfc3339(event.sandbox.end_at)
    if event.egress_changed:
        egress = config.network.egress
        data["network_egress"] = {
            "allowed_cidrs": list(egress.allowed_cidrs),
            "denied_cidrs": list(egress.denied_cidrs),
            "allowed_domains": list(egress.allowed_domains),
        }
    return data
