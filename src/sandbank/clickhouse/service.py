"""ClickHouse as part of an installation: its tables brought up to date behind everything else, its connection closed at the end."""

from __future__ import annotations

import asyncio

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import Schema
from sandbank.domain.errors import UnavailableError

_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0

_log = structlog.get_logger("sandbank.clickhouse")


class ClickHouseService:
    """Implements `sandbank.servicekit.service.Service`. One that cannot be reached is tried again for ever and holds up nothing.

    Only a database that a newer version has used ends it, and with it the process: writing there could break what that one relies on.
    Who only reads does not `migrate`, and is ended by nothing.
    """

    name = "clickhouse"

    def __init__(self, client: ClickHouse, cluster: str | None = None, *, migrate: bool = True) -> None:
        self._client = client
        self._schema = Schema(client, cluster) if migrate else None
        self._tasks = TaskGroup(self.name, lambda task, error: None)  # `wait` raises it
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once."""
        if self._schema is not None:
            self._work = self._tasks.start("schema", self._prepare(self._schema))

    async def wait(self) -> None:
        """Ends only with a database that is newer than we are: `ConflictError`."""
        if self._work is not None:
            await self._work
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Whoever writes has flushed before."""
        await self._tasks.close()
        await self._client.close()

    async def _prepare(self, schema: Schema) -> None:
        pause = _PAUSE_SECONDS
        while True:
            try:
                taken = await schema.up()
            except UnavailableError as error:
                _log.warning("ClickHouse cannot be used yet: metrics, events and logs wait for it", reason=error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                continue
            self._client.ready.set()
            _log.info("ClickHouse is ready", migrations=taken)
            return
