"""Changing what a running sandbox may reach (contract data-plane §9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

import structlog

from sandbank.aiokit.tasks import finish
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import SandboxRecords
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.runtime.driver import Driver, EgressPolicy

Change = Callable[[bytes], tuple[bytes, EgressPolicy, EgressPolicy]]


class EgressUpdate:
    """Replaces policies, of one sandbox one after the other."""

    def __init__(self, driver: Driver, inventory: Inventory, records: SandboxRecords) -> None:
        self._driver = driver
        self._inventory = inventory
        self._records = records
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._log = structlog.get_logger("sandbank.orchestrator")

    async def apply(self, sandbox_id: str, change: Change) -> RunningSandbox:
        """In force and on record when it returns the sandbox as it is then, as before when it raises.

        `NotFoundError` when there is no such sandbox. `change` makes the new description of the old one, with the policies of both.
        Cancelled, the change is made all the same.
        """
        async with self._locks.setdefault(sandbox_id, asyncio.Lock()):
            return await finish(self._apply(sandbox_id, change))

    async def _apply(self, sandbox_id: str, change: Change) -> RunningSandbox:
        config, policy, before = change(self._find(sandbox_id).config)
        await self._driver.set_egress(sandbox_id, policy)
        try:
            # Found again: its end may have been moved meanwhile.
            changed = replace(self._find(sandbox_id), config=config)
            self._records.save(changed)
        except SandbankError:
            await self._driver.set_egress(sandbox_id, before)
            raise
        self._inventory.running[sandbox_id] = changed
        self._log.info("egress rules replaced", sandbox_id=sandbox_id)
        return changed

    def _find(self, sandbox_id: str) -> RunningSandbox:
        if (sandbox := self._inventory.running.get(sandbox_id)) is None:
            raise NotFoundError("sandbox not found")
        return sandbox
