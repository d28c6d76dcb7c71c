"""What happens to sandboxes on this node, for those who keep a history of it (contract data-plane §12.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from sandbank.orchestrator.core.sandbox import RunningSandbox

CREATED, KILLED, UPDATED = "created", "killed", "updated"
PAUSED, RESUMED, CHECKPOINTED = "paused", "resumed", "checkpointed"

KILL_REASONS = frozenset(("unknown", "request", "timeout", "admin", "orphaned", "base_template_missing", "seal_failed", "resume_failed"))
"""Contract data-plane §10.3."""


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """`sandbox` is as it was afterwards. `end_moved` and `egress_changed` say what an update was about.

    `event_id` is the same wherever it is told.
    """

    kind: str
    at: datetime
    sandbox: RunningSandbox
    kill_reason: str | None = None
    end_moved: bool = False
    egress_changed: bool = False
    event_id: UUID = field(default_factory=uuid4)


class Listener(Protocol):
    """Somebody who wants to know; see `sandbank.orchestrator.core.ports.Events`."""

    def emit(self, event: LifecycleEvent) -> None: ...


def killed(sandbox: RunningSandbox, reason: str, at: datetime) -> LifecycleEvent:
    """Its end, for whatever reason; reasons that nobody knows become `unknown`."""
    return LifecycleEvent(KILLED, at, sandbox, kill_reason=reason if reason in KILL_REASONS else "unknown")


class EventFan:
    """Tells everybody who wants to know."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def emit(self, event: LifecycleEvent) -> None:
        """To each in turn."""
        for listener in self._listeners:
            listener.emit(event)
