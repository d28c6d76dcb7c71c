"""Where addresses of nodes come from, and several of these together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sandbank.domain.errors import SandbankError, UnavailableError


class Source(Protocol):
    """One place that knows of nodes."""

    @property
    def name(self) -> str:
        """What log lines call it."""

    async def list(self) -> Sequence[str]:
        """Every `host:port` where an orchestrator should be; `UnavailableError` when that cannot be said now."""

    async def close(self) -> None:
        """Let go of connections."""


class StaticNodes:
    """Those that the operator has listed."""

    name = "static"

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))

    async def list(self) -> Sequence[str]:
        """As given."""
        return self._addresses

    async def close(self) -> None:
        """Nothing is open."""


class MergedSources:
    """All of several sources. One that cannot answer is taken to say what it said last: an outage of it is none of the nodes.

    `on_error(source, error)` hears of an outage once.
    """

    name = "discovery"

    def __init__(self, sources: Sequence[Source], on_error: Callable[[str, BaseException], None]) -> None:
        self._sources = sources
        self._on_error = on_error
        self._last: dict[str, Sequence[str]] = {}
        self._failing: set[str] = set()

    async def list(self) -> Sequence[str]:
        """Each address once, in the order of the sources; `UnavailableError` only when none has ever answered."""
        await asyncio.gather(*(self._ask(source) for source in self._sources))
        if self._sources and not self._last:
            raise UnavailableError("no source of nodes has answered yet")
        return list(dict.fromkeys(address for source in self._sources for address in self._last.get(source.name, ())))

    async def close(self) -> None:
        """All of them."""
        for source in self._sources:
            await source.close()

    async def _ask(self, source: Source) -> None:
        try:
            self._last[source.name] = await source.list()
            self._failing.discard(source.name)
        except SandbankError as error:
            if source.name not in self._failing:
                self._failing.add(source.name)
                self._on_error(f"discovery by {source.name}", error)
