"""Which sandboxes outstay their end although ending them is the API's business."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sandbank.orchestrator.core.sandbox import RunningSandbox

# The API evicts within a second. Past this it is gone, and so may be everybody who knows of the sandbox.
GRACE = timedelta(seconds=60)


def list_overdue(sandboxes: Iterable[RunningSandbox], now: datetime) -> list[str]:
    """Those past their end and the grace. Not those to be paused at their end: killing them would lose what their owner was promised."""
    return [sandbox.sandbox_id for sandbox in sandboxes if sandbox.end_at + GRACE < now and not sandbox.auto_pause]
