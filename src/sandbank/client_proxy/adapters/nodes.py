"""Requests to sandboxes on other nodes: the catalog says where, the node's own proxy does the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from sandbank.client_proxy.adapters.resume import Resumer, knock_of, problem_of
from sandbank.domain.errors import SandbankError
from sandbank.proxy import page
from sandbank.proxy.address import connect_to
from sandbank.proxy.head import RequestHead
from sandbank.proxy.local import direct_host, target_of
from sandbank.proxy.origin import NODE_POLICY, Origin
from sandbank.proxy.page import Page
from sandbank.proxy.resolver import Decision, Forward
from sandbank.proxy.target import Target, TargetError
from sandbank.state.cached_catalog import CachedCatalog
from sandbank.state.catalog import Catalog, CatalogEntry, MemoryCatalog

logger = structlog.get_logger(__name__)


class NodeResolver:
    """Asks the catalog which node runs a sandbox, and `resumer`, if there is one, about those that it does not know.

    Contract data-plane §7.2. A catalog that fails is answered as if there were no such sandbox.
    """

    def __init__(self, catalog: Catalog, *, port: int, timeout_seconds: float, resumer: Resumer | None = None) -> None:
        self._catalog = catalog
        self._resumer = resumer
        self._find_now: Callable[[str], CatalogEntry | None] | None = catalog.find_now if isinstance(catalog, MemoryCatalog) else None
        self._find_fresh = catalog.find_fresh if isinstance(catalog, CachedCatalog) else None
        self._port = port
        self._timeout_seconds = timeout_seconds
        self._origins: dict[str, Origin] = {}

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        """See `Resolver`."""
        try:
            target = target_of(head)
        except TargetError as error:
            return page.plain(400, str(error))
        if self._find_now is None:
            if self._find_fresh is not None and (fresh := self._find_fresh(target.sandbox_id)) is not None:
                return self._decide(head, target, fresh.orchestrator_ip)
            return self._look_up(head, target)
        entry = self._find_now(target.sandbox_id)
        if entry is None and self._resumer is not None:
            return self._resume(self._resumer, head, target)
        return self._decide(head, target, entry.orchestrator_ip if entry is not None else "")

    async def _look_up(self, head: RequestHead, target: Target) -> Decision:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                entry = await self._catalog.find(target.sandbox_id)
        except Exception as error:  # noqa: BLE001  # request boundary: whatever a store raises, the client gets its page
            logger.warning("catalog look-up failed", sandbox_id=target.sandbox_id, error=str(error))
            return self._decide(head, target, "")
        if entry is None and self._resumer is not None:
            return await self._resume(self._resumer, head, target)
        return self._decide(head, target, entry.orchestrator_ip if entry is not None else "")

    async def _resume(self, resumer: Resumer, head: RequestHead, target: Target) -> Decision:
        outcome = await resumer.resume(knock_of(head, target))
        if isinstance(outcome, SandbankError):
            return problem_of(target.sandbox_id, outcome).page(head.fields)
        return self._decide(head, target, outcome)

    def _decide(self, head: RequestHead, target: Target, address: str) -> Decision:
        if not address:
            return page.sandbox_not_found(target.sandbox_id).page(head.fields)
        origin = self._origins.get(address)
        if origin is None:
            origin = self._origins[address] = Origin(lambda: connect_to(address, self._port), NODE_POLICY)
        host = direct_host(target)
        return Forward(origin, target, host=host, forwarded_host=None if host is None else head.host)

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return page.plain(502, "Failed to route request to sandbox")

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        """See `Resolver`."""
        return self.unreachable(head, forward)

    def sweep(self, now: float) -> None:
        """See `Resolver`."""
        for address in [address for address, origin in self._origins.items() if not origin.sweep(now)]:
            del self._origins[address]
