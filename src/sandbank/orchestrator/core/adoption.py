"""Finding our sandboxes again after a restart."""

from __future__ import annotations

import structlog

from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import Routes, SandboxRecords
from sandbank.orchestrator.core.removal import Removal
from sandbank.runtime.driver import Driver


async def adopt(driver: Driver, inventory: Inventory, records: SandboxRecords, routes: Routes, removal: Removal) -> None:
    """Start the driver and bring what it found, what is on record and what is routable into agreement.

    A sandbox that runs and is on record is routable again; one that runs without a record was never acknowledged and is killed; a record
    without a sandbox is removed. Cancelled or failed, records are as before and nothing is routable.
    """
    log = structlog.get_logger("sandbank.orchestrator")
    # Before the driver starts, so that a sandbox that ends meanwhile is taken off the list by its exit.
    inventory.running.update({sandbox.sandbox_id: sandbox for sandbox in records.load_all()})
    try:
        report = await driver.start(removal.on_exit)
    except BaseException:
        inventory.running.clear()
        raise
    for warning in report.warnings:
        log.warning("driver", warning=warning)
    if report.reclaimed:
        log.info("leftovers removed", count=len(report.reclaimed), names=list(report.reclaimed[:20]))
    alive = set(report.adopted)
    for sandbox_id in list(inventory.running):
        if sandbox_id in alive:
            routes.open(inventory.running[sandbox_id])
            log.info("sandbox adopted", sandbox_id=sandbox_id)
        else:
            removal.note_lost(sandbox_id)
            log.warning("sandbox lost", sandbox_id=sandbox_id)
    for sandbox_id in alive - inventory.running.keys():
        removal.kill(sandbox_id)
        log.warning("sandbox without a record killed", sandbox_id=sandbox_id)
