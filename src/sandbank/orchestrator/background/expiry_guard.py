"""The node's safety net under the API's evictor."""

from __future__ import annotations

import asyncio

import structlog

from sandbank.domain.errors import SandbankError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.overdue import list_overdue
from sandbank.orchestrator.core.ports import Clock
from sandbank.orchestrator.core.removal import Removal

_PERIOD_SECONDS = 5.0


async def guard_expiry(inventory: Inventory, removal: Removal, clock: Clock) -> None:
    """Forever: end sandboxes that are long past their end. The wall clock decides, as ends are wall-clock times."""
    log = structlog.get_logger("sandbank.orchestrator")
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        for sandbox_id in set(list_overdue(inventory.running.values(), clock())) - inventory.pausing.keys():
            log.warning("sandbox is overdue and nobody ends it", sandbox_id=sandbox_id)
            try:
                removal.delete(sandbox_id, "timeout")
            except SandbankError as error:
                log.error("overdue sandbox not ended", sandbox_id=sandbox_id, error=error.message)
