"""A catalog elsewhere, asked once per sandbox and second instead of once per request."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from sandbank.domain.errors import UnavailableError
from sandbank.state.catalog import Catalog, CatalogEntry

_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 1.0
_KEPT = 50_000

_log = structlog.get_logger("sandbank.state")


class CachedCatalog:
    """See `sandbank.state.catalog.Catalog`. While the catalog cannot be asked, what was known before goes on to hold.

    What is not there is not remembered: a sandbox that has just been created is found at once.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, CatalogEntry]] = OrderedDict()
        self._is_away = False

    def find_fresh(self, sandbox_id: str) -> CatalogEntry | None:
        """The route if it was looked up a moment ago; `None` says nothing."""
        found = self._entries.get(sandbox_id)
        return found[1] if found is not None and self._clock() - found[0] < _FRESH_SECONDS else None

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        """See `Catalog.find`; `UnavailableError` for a sandbox that was never asked for while the catalog is away."""
        known = self._entries.get(sandbox_id)
        if known is not None and _is_over(known[1]):
            known = None
        try:
            async with asyncio.timeout(None if known is None else _PATIENCE_SECONDS):
                entry = await self._catalog.find(sandbox_id)
        except (UnavailableError, TimeoutError) as error:
            if not self._is_away:
                self._is_away = True
                reason = error.message if isinstance(error, UnavailableError) else "it takes too long"
                _log.warning("the catalog cannot be asked; known routes go on to hold", reason=reason)
            if known is None:
                raise
            self._keep(known[1])  # or every request would wait for as long
            return known[1]
        if self._is_away:
            self._is_away = False
            _log.info("the catalog can be asked again")
        if entry is None:
            self._entries.pop(sandbox_id, None)
            return None
        self._keep(entry)
        return entry

    async def put(self, entry: CatalogEntry) -> None:
        """See `Catalog.put`."""
        await self._catalog.put(entry)
        self._keep(entry)

    async def remove(self, sandbox_id: str, execution_id: str) -> None:
        """See `Catalog.remove`."""
        self._entries.pop(sandbox_id, None)
        await self._catalog.remove(sandbox_id, execution_id)

    def _keep(self, entry: CatalogEntry) -> None:
        self._entries[entry.sandbox_id] = (self._clock(), entry)
        self._entries.move_to_end(entry.sandbox_id)
        if len(self._entries) > _KEPT:
            self._entries.popitem(last=False)


def _is_over(entry: CatalogEntry) -> bool:
    return datetime.now(UTC) > entry.sandbox_started_at + timedelta(hours=entry.max_length_hours)
