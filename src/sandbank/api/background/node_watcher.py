"""Notices within a second what happens on the nodes without us: sandboxes that ended, nodes that came or went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.reconcile import NodeReconciler
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 0.8
# However many sandboxes there are, asking for them takes at most this part of the time.
_DUTY = 0.1
_FIRST_TRIES = 10
_FIRST_PAUSE_SECONDS = 0.1


class NodeWatcher:
    """Reconciles every node again and again, each on its own."""

    name = "node-watcher"

    def __init__(
        self,
        addresses: Sequence[str],
        reconciler: NodeReconciler,
        on_error: Callable[[str, BaseException], None],
        *,
        alone: bool = True,
    ) -> None:
        self._addresses = addresses
        self._reconciler = reconciler
        self._on_error = on_error
        self._alone = alone  # or others create and kill on these nodes while we look
        self._down: set[str] = set()

    async def first_pass(self) -> None:
        """Rebuild the records from the nodes. One that does not answer within a moment is left to `run`: it may come later."""
        for address in self._addresses:
            for _ in range(_FIRST_TRIES):
                if await self._pass(address, adopt_at_once=self._alone):
                    break
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        tasks = TaskGroup("node-watcher", self._on_error)
        try:
            await asyncio.gather(*(tasks.start(address, self._watch(address)) for address in self._addresses))
        finally:
            await tasks.close()

    async def _watch(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await self._pass(address)
            await asyncio.sleep(max(_PERIOD_SECONDS, (loop.time() - begun) / _DUTY))

    async def _pass(self, address: str, *, adopt_at_once: bool = False) -> bool:
        try:
            await self._reconciler.reconcile(address, adopt_at_once=adopt_at_once)
        except SandbankError as error:
            if address not in self._down:  # say it once
                self._down.add(address)
                self._on_error(f"node {address}", error)
            return False
        self._down.discard(address)
        return True
