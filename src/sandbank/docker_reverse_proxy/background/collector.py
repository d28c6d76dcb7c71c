"""The image store's collector."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from sandbank.aiokit.tasks import finish
from sandbank.domain.errors import SandbankError

_FIRST_SECONDS = 60.0
_PERIOD_SECONDS = 3600.0

logger = structlog.get_logger(__name__)


class Collection(Protocol):
    """What can be collected."""

    def list_templates(self) -> list[str]:
        """Those that something is kept of."""
        ...

    def collect(self, gone: set[str]) -> object:
        """Remove what they had, and what nobody needs; what it says is for the log."""
        ...


class Collector:
    """Once an hour. While `find_existing` cannot say which templates there are, nothing goes; `collected` is called after each turn."""

    def __init__(
        self, collection: Collection, find_existing: Callable[[list[str]], Awaitable[set[str]]], collected: Callable[[], None]
    ) -> None:
        self._collection = collection
        self._find_existing = find_existing
        self._collected = collected

    async def run(self) -> None:
        """Until it is cancelled, which waits for the files being removed."""
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await self.collect()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def collect(self) -> None:
        """One turn."""
        try:
            templates = await asyncio.to_thread(self._collection.list_templates)
            existing = await self._find_existing(templates)
            done = await finish(asyncio.to_thread(self._collection.collect, set(templates) - existing))
        except (SandbankError, OSError) as error:
            logger.warning("cannot collect images", reason=str(error))
            return
        self._collected()
        logger.debug("collected images", done=done)
