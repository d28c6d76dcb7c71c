"""Looks at what every sandbox uses (contract data-plane §12.4), by the kernel's accounts and not the agent's word."""

from __future__ import annotations

import asyncio
from typing import Protocol

from sandbank.domain.errors import SandbankError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.orchestrator.core.ports import Clock
from sandbank.orchestrator.core.usage import UsageSample, sample
from sandbank.runtime.driver import SandboxStats

_PERIOD_SECONDS = 5.0
_DUTY = 0.1  # however many there are, looking takes at most this part of the time


class Meters(Protocol):
    """Who knows what a sandbox has used."""

    async def stats(self, sandbox_id: str) -> SandboxStats: ...


class Samples(Protocol):
    """Who wants to know."""

    def record(self, usage: UsageSample) -> None: ...


class UsageSampler:
    """Every sandbox each five seconds, one after the other so that nothing else waits for long."""

    def __init__(self, inventory: Inventory, meters: Meters, samples: Samples, clock: Clock) -> None:
        self._inventory = inventory
        self._meters = meters
        self._samples = samples
        self._clock = clock
        self._last: dict[str, UsageSample] = {}

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await self.sweep()
            await asyncio.sleep(max(_PERIOD_SECONDS - (loop.time() - begun), (loop.time() - begun) / _DUTY))

    async def sweep(self) -> None:
        """Look at each once. What ends meanwhile is left out."""
        seen: dict[str, UsageSample] = {}
        for sandbox in list(self._inventory.running.values()):
            try:
                stats = await self._meters.stats(sandbox.sandbox_id)
            except (SandbankError, OSError):
                continue
            usage = sample(sandbox, self._clock(), stats, self._last.get(sandbox.sandbox_id))
            seen[sandbox.sandbox_id] = usage
            self._samples.record(usage)
        self._last = seen
