"""What happened to a sandbox as a line of its log (templates contract §5.1: the service `orchestrator`)."""

from __future__ import annotations

from typing import Any

from sandbank.domain.log_record import ORCHESTRATOR, LogRecord, LogSubject
from sandbank.orchestrator.core.events import KILLED, UPDATED, LifecycleEvent

_LOGGER = "orchestrator"


def line_of(event: LifecycleEvent, subject: LogSubject) -> LogRecord:
    """One line, of the level info; times in it are RFC 3339."""
    sandbox = event.sandbox
    fields: dict[str, Any] = {
        "logger": _LOGGER,
        "event_type": f"sandbox_{event.kind}",
        "execution.id": sandbox.execution_id,
        "end_at": sandbox.end_at.isoformat(),
    }
    message = f"Sandbox {event.kind}"
    if event.kind == KILLED:
        fields["kill_reason"] = event.kill_reason
        fields["execution_time_ms"] = round((event.at - sandbox.started_at).total_seconds() * 1000)
        message += f": {event.kill_reason}"
    elif event.kind == UPDATED:
        changes = (("end_moved", event.end_moved), ("egress_changed", event.egress_changed))
        fields |= {name: True for name, is_so in changes if is_so}
    timestamp_ns = round(event.at.timestamp() * 1_000_000) * 1000
    return LogRecord(timestamp_ns, subject, ORCHESTRATOR, "info", message, fields)
