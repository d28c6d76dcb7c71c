"""Routes in the routing catalog."""

from __future__ import annotations

from collections.abc import Callable

from sandbank.domain.sandbox import Sandbox
from sandbank.state.catalog import Catalog, CatalogEntry


class CatalogRoutes:
    """Writes the catalog; `host_of` says at which address a node's sandbox proxy listens."""

    def __init__(self, catalog: Catalog, host_of: Callable[[str], str]) -> None:
        self._catalog = catalog
        self._host_of = host_of

    async def put(self, sandbox: Sandbox) -> None:
        """Let traffic find it."""
        await self._catalog.put(
            CatalogEntry(
                sandbox_id=sandbox.sandbox_id,
                execution_id=sandbox.execution_id,
                orchestrator_id=sandbox.node_id,
                orchestrator_ip=self._host_of(sandbox.node_id),
                sandbox_started_at=sandbox.started_at,
                max_length_hours=sandbox.max_length_hours,
            )
        )

    async def remove(self, sandbox: Sandbox) -> None:
        """Let traffic find it no more, unless a newer execution has taken over."""
        await self._catalog.remove(sandbox.sandbox_id, sandbox.execution_id)
