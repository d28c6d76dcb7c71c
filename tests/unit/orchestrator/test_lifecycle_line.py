"""What happened to a sandbox as a line of its log (templates contract §5.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sandbank.domain.log_record import LogSubject
from sandbank.orchestrator.core.events import CREATED, UPDATED, LifecycleEvent, killed
from sandbank.orchestrator.core.lifecycle_line import line_of
from sandbank.orchestrator.core.sandbox import running_from
from tests.unit.orchestrator.node import new_order

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SUBJECT = LogSubject("team", "isandbox", "template", "build")
SANDBOX = running_from(new_order(), NOON)


def test_a_creation() -> None:
    record = line_of(LifecycleEvent(CREATED, NOON, SANDBOX), SUBJECT)
    assert (record.service, record.level, record.message, record.subject) == ("orchestrator", "info", "Sandbox created", SUBJECT)
    assert record.timestamp_ns == int(NOON.timestamp()) * 10**9
    assert record.fields == {
        "logger": "orchestrator",
        "event_type": "sandbox_created",
        "execution.id": "execution",
        "end_at": "2026-01-02T12:05:00+00:00",
    }


def test_an_end_says_why_and_after_how_long() -> None:
    record = line_of(killed(SANDBOX, "timeout", NOON + timedelta(seconds=1.5)), SUBJECT)
    assert record.message == "Sandbox killed: timeout"
    assert (record.fields["kill_reason"], record.fields["execution_time_ms"]) == ("timeout", 1500)


def test_an_update_says_what_changed() -> None:
    record = line_of(LifecycleEvent(UPDATED, NOON, SANDBOX, end_moved=True), SUBJECT)
    assert (record.fields["event_type"], record.fields["end_moved"]) == ("sandbox_updated", True)
    assert "egress_changed" not in record.fields
