"""Moving a sandbox's end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sandbank.domain.errors import NotFoundError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import SandboxRecords
from sandbank.orchestrator.core.sandbox import RunningSandbox


def move_end(inventory: Inventory, records: SandboxRecords, sandbox_id: str, end_at: datetime) -> RunningSandbox:
    """Remembered on disk when it returns. `NotFoundError` when there is no such sandbox."""
    sandbox = inventory.running.get(sandbox_id)
    if sandbox is None:
        raise NotFoundError("sandbox not found")
    moved = replace(sandbox, end_at=end_at)
    records.save(moved)
    inventory.running[sandbox_id] = moved
    return moved
