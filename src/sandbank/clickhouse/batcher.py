"""Rows that nobody waits for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import UnavailableError

# Contract templates-and-data §4: a thousand rows or a second; then newer rows are worth more than older ones.
_AT_ONCE = 1000
_PERIOD_SECONDS = 1.0
_KEPT = 10_000
_MAX_PAUSE_SECONDS = 30.0
_COMPLAIN_SECONDS = 60.0

_log = structlog.get_logger("sandbank.clickhouse")


class Batcher:
    """Collects rows of one table and writes them in batches. A store that is away costs the oldest rows, and a line in the log."""

    def __init__(self, client: ClickHouse, table: str, columns: Sequence[str], *, kept: int = _KEPT) -> None:
        self._client = client
        self._table = table
        self._columns = tuple(columns)
        self._rows: deque[Sequence[object]] = deque(maxlen=kept)
        self._full = asyncio.Event()
        self.dropped = 0
        self._complain_at = 0.0

    @property
    def name(self) -> str:
        """What its loop is called."""
        return f"batcher.{self._table}"

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Sequence[object]) -> None:
        """Take one row. Never waits, never raises; the oldest goes when there is no room."""
        if len(self._rows) == self._rows.maxlen:
            self.dropped += 1
        self._rows.append(row)
        if len(self._rows) >= _AT_ONCE:
            self._full.set()

    async def run(self) -> None:
        """Write each second or thousand rows, until cancelled; what is left then is for `flush`."""
        await self._client.ready.wait()
        pause = _PERIOD_SECONDS
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._full.clear()
            try:
                await self.flush()
                pause = _PERIOD_SECONDS
            except UnavailableError as error:
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                self._complain(error)
                await asyncio.sleep(pause)

    async def flush(self) -> None:
        """Write what there is; `UnavailableError` leaves what was not written. Cancelled, the batch on its way is written all the same."""
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(_AT_ONCE, len(self._rows)))]
            try:
                await self._client.insert(self._table, self._columns, batch)
            except UnavailableError:
                self._put_back(batch)
                raise

    def _put_back(self, batch: list[Sequence[object]]) -> None:
        room = (self._rows.maxlen or 0) - len(self._rows)
        self.dropped += max(0, len(batch) - room)
        self._rows.extendleft(reversed(batch[max(0, len(batch) - room) :]))

    def _complain(self, error: UnavailableError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_SECONDS
            _log.warning("rows wait for ClickHouse", table=self._table, reason=error.message, waiting=len(self._rows), dropped=self.dropped)
