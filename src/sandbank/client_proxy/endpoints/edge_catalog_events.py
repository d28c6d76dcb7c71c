"""What a passed-through call changes in the routing catalog (contract data-plane §8.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sandbank.client_proxy.core.cluster import ClusterNode
from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import is_sandbox_id
from sandbank.state.catalog import Catalog, CatalogEntry

EVENT_KEY = "event-type"
CREATE_EVENT = "sandbox-catalog-create"
DELETE_EVENT = "sandbox-catalog-delete"

_MAX_TEXT = 256
_MAX_HOURS = 24 * 365

Metadata = Mapping[str, str | bytes]


class CatalogEvents:
    """Reads the event in a call's metadata and applies it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @asynccontextmanager
    async def around(self, metadata: Metadata, node: ClusterNode) -> AsyncIterator[None]:
        """Around the call to `node`. `InvalidError`, before anything is done, when the event is incomplete.

        A created sandbox is in the catalog while the call runs and stays if it succeeds; cancelled or failed, it does not. An ended one is
        unroutable before the node hears of it.
        """
        event = metadata.get(EVENT_KEY)
        if event == CREATE_EVENT:
            entry = _entry(metadata, node)
            await self._catalog.put(entry)
            try:
                yield
            except BaseException:
                await self._catalog.remove(entry.sandbox_id, entry.execution_id)
                raise
        elif event == DELETE_EVENT:
            await self._catalog.remove(_sandbox_id(metadata), _text(metadata, "execution-id"))
            yield
        else:
            yield


def _entry(metadata: Metadata, node: ClusterNode) -> CatalogEntry:
    hours = _text(metadata, "sandbox-max-length-in-hours")
    if not (hours.isascii() and hours.isdecimal() and 0 < int(hours) <= _MAX_HOURS):
        raise InvalidError("metadata sandbox-max-length-in-hours is no number of hours")
    start = _text(metadata, "sandbox-start-time")
    try:
        started_at = datetime.fromisoformat(start)
        if started_at.tzinfo is None:
            raise ValueError("no offset")
        started_at = started_at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidError("metadata sandbox-start-time is no time as RFC 3339 has it") from error
    return CatalogEntry(
        sandbox_id=_sandbox_id(metadata),
        execution_id=_text(metadata, "execution-id"),
        orchestrator_id=_text(metadata, "orchestrator-id"),
        orchestrator_ip=node.host,
        sandbox_started_at=started_at,
        max_length_hours=int(hours),
    )


def _sandbox_id(metadata: Metadata) -> str:
    sandbox_id = _text(metadata, "sandbox-id")
    if not is_sandbox_id(sandbox_id):
        raise InvalidError("metadata sandbox-id is no sandbox ID")
    return sandbox_id


def _text(metadata: Metadata, key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidError(f"metadata {key} is missing")
    if len(value) > _MAX_TEXT:
        raise InvalidError(f"metadata {key} is too long")
    return value
