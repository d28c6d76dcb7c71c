"""Notices within a second what happens on the nodes without us: sandboxes that ended, nodes that came or went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.core.reconcile import NodeReconciler
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 0.8
# However many sandboxes there are, asking for them takes at most this part of the time.
_DUTY = 0.1
_FIRST_TRIES = 10
_FIRST_PAUSE_SECONDS = 0.1
_DISCOVERY_SECONDS = 3.0
# A node that nobody names any more and that has not answered for so long is none.
_GONE_SECONDS = 60.0


class NodeAddresses(Protocol):
    """Where nodes should be."""

    async def list(self) -> Sequence[str]:
        """Every `host:port`; raises domain errors."""


class KnownNodes(Protocol):
    """Those that can be asked."""

    def add(self, address: str) -> None:
        """A node is there, or should be, maybe again; it is not asked yet."""

    def retire(self, address: str) -> None:
        """It is to get nothing new: nobody says any more that it is a node."""

    async def drop(self, address: str) -> str | None:
        """Forget the address; the ID of the node that is lost with it, None if there was none or it has another address now."""


class NodeWatcher:
    """Finds nodes, and reconciles every one again and again, each on its own."""

    name = "node-watcher"

    def __init__(
        self,
        addresses: NodeAddresses,
        nodes: KnownNodes,
        reconciler: NodeReconciler,
        on_error: Callable[[str, BaseException], None],
        *,
        alone: bool = True,
    ) -> None:
        self._addresses = addresses
        self._nodes = nodes
        self._reconciler = reconciler
        self._on_error = on_error
        self._alone = alone  # or others create and kill on these nodes while we look
        self._named: set[str] = set()
        self._watched: set[str] = set()
        self._down: set[str] = set()

    async def first_pass(self) -> None:
        """Rebuild the records from the nodes. One that does not answer within a moment is left to `run`: it may come later."""
        await self._find()
        for address in sorted(self._named):
            self._nodes.add(address)
            for _ in range(_FIRST_TRIES):
                if await self._pass(address, adopt_at_once=self._alone):
                    break
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        tasks = TaskGroup("node-watcher", self._on_error)
        try:
            while True:
                for address in self._named:
                    self._nodes.add(address)
                for address in self._watched - self._named:
                    self._nodes.retire(address)
                for address in self._named - self._watched:
                    self._watched.add(address)
                    tasks.start(address, self._watch(address))
                await asyncio.sleep(_DISCOVERY_SECONDS)
                await self._find()
        finally:
            await tasks.close()

    async def _find(self) -> None:
        try:
            self._named = set(await self._addresses.list())
        except SandbankError as error:
            self._report("discovery", error)
        else:
            self._down.discard("discovery")

    async def _watch(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        answered = loop.time()
        while True:
            begun = loop.time()
            if await self._pass(address):
                answered = loop.time()
            elif address not in self._named and loop.time() - answered >= _GONE_SECONDS:
                break
            await asyncio.sleep(max(_PERIOD_SECONDS, (loop.time() - begun) / _DUTY))
        self._watched.discard(address)
        self._down.discard(address)
        node_id = await self._nodes.drop(address)
        while node_id is not None:
            try:
                await self._reconciler.lose(node_id)
            except SandbankError as error:
                self._report(address, error)
                await asyncio.sleep(_PERIOD_SECONDS)
            else:
                return

    async def _pass(self, address: str, *, adopt_at_once: bool = False) -> bool:
        try:
            await self._reconciler.reconcile(address, adopt_at_once=adopt_at_once)
        except SandbankError as error:
            self._report(address, error)
            return False
        self._down.discard(address)
        return True

    def _report(self, what: str, error: SandbankError) -> None:
        if what not in self._down:  # say it once
            self._down.add(what)
            self._on_error(what if what == "discovery" else f"node {what}", error)
