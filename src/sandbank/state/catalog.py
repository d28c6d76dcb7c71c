"""Which node runs a sandbox: written by the API, read by the client proxy for every connection it does not know yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class CatalogEntry:
    """Where one execution of a sandbox can be reached. The fields are those of E2B's `sandbox:catalog:<id>` record."""

    sandbox_id: str
    execution_id: str
    orchestrator_id: str
    orchestrator_ip: str
    sandbox_started_at: datetime
    max_length_hours: int


class Catalog(Protocol):
    """The routing catalog; the newest execution of a sandbox wins."""

    async def put(self, entry: CatalogEntry) -> None:
        """Make `entry` the route to its sandbox, in place of an older execution's."""

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        """The route to `sandbox_id`, or `None` where it does not run."""

    async def remove(self, sandbox_id: str, execution_id: str) -> None:
        """Forget the route, unless a newer execution has taken its place. Unknown ones are no error."""


class MemoryCatalog:
    """The catalog of a single process: empty at start, filled from the nodes."""

    def __init__(self) -> None:
        self._entries: dict[str, CatalogEntry] = {}

    async def put(self, entry: CatalogEntry) -> None:
        """See `Catalog.put`."""
        self._entries[entry.sandbox_id] = entry

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        """See `Catalog.find`."""
        return self._entries.get(sandbox_id)

    def find_now(self, sandbox_id: str) -> CatalogEntry | None:
        """`find` without a turn of the event loop, for a proxy in the same process."""
        return self._entries.get(sandbox_id)

    async def remove(self, sandbox_id: str, execution_id: str) -> None:
        """See `Catalog.remove`."""
        entry = self._entries.get(sandbox_id)
        if entry is not None and entry.execution_id == execution_id:
            del self._entries[sandbox_id]
