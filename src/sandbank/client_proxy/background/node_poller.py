"""Looks at every orchestrator again and again (contract data-plane §8.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from sandbank.client_proxy.core.cluster import Cluster, ClusterNode
from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 5.0  # contract data-plane §8.3
_FIRST_PERIOD_SECONDS = 0.5  # as long as none was seen, and with it no traffic wanted
_AT_ONCE = 16


class Addresses(Protocol):
    """Where orchestrators should be."""

    async def list(self) -> Sequence[str]: ...


class Peers(Protocol):
    """Asks orchestrators; raises domain errors."""

    async def ask(self, address: str) -> ClusterNode: ...

    async def forget(self, addresses: Collection[str]) -> None: ...


class NodePoller:
    """Keeps a `Cluster` up to date."""

    name = "node-poller"

    def __init__(self, addresses: Addresses, peers: Peers, cluster: Cluster, on_error: Callable[[str, BaseException], None]) -> None:
        self._addresses = addresses
        self._peers = peers
        self._cluster = cluster
        self._on_error = on_error
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._down: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_PERIOD_SECONDS if self._cluster.ever_seen else _FIRST_PERIOD_SECONDS)

    async def look(self) -> None:
        """One round. Addresses that cannot be listed change nothing: an outage of name servers is none of the nodes."""
        try:
            addresses = await self._addresses.list()
        except SandbankError as error:
            self._report("discovery", error)
            return
        self._down.discard("discovery")
        for address in self._cluster.missing_from(addresses):
            self._cluster.missed(address)
        await asyncio.gather(*(self._ask(address) for address in addresses))
        self._down.intersection_update(addresses)
        await self._peers.forget(addresses)

    async def _ask(self, address: str) -> None:
        try:
            async with self._turns:
                node = await self._peers.ask(address)
        except SandbankError as error:
            self._cluster.missed(address)
            self._report(address, error)
        else:
            self._cluster.saw(node)
            self._down.discard(address)

    def _report(self, what: str, error: SandbankError) -> None:
        if what not in self._down:  # say it once
            self._down.add(what)
            self._on_error(what, error)
