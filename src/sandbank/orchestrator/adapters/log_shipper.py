"""Log lines on their way from this node to the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from sys import getsizeof

import structlog

from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.domain.log_record import LogRecord

MAX_PENDING_BYTES = 32 * 1024 * 1024
BATCH_RECORDS = 1000
BATCH_BYTES = 1024 * 1024
PERIOD_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.5
_LAST_PAUSE_SECONDS = 30.0
# What a record takes in memory besides its texts.
_RECORD_BYTES = 960

_FIELD_BYTES = 32
# Of what is nested, for each character of its text: three make an object of seventy bytes.
_NESTED_BYTES = 32
_ESCAPED_BYTES = 6

Ship = Callable[[Sequence[LogRecord]], Awaitable[None]]


class LogShipper:
    """Batches of up to a second or 1,000 lines, sent again while the store is unavailable; the oldest make room when there are too many.

    `ship` raises `InvalidError` for a batch that no repetition will help, any other domain error for one to be sent again.
    """

    def __init__(self, ship: Ship, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._ship = ship
        self._max_pending_bytes = max_pending_bytes
        self._pending: deque[tuple[LogRecord, int]] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._is_failing = False
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._log = structlog.get_logger("sandbank.orchestrator")

    def write(self, record: LogRecord) -> None:
        """As the port promises."""
        size = (
            _RECORD_BYTES
            + _memory(record.message)
            + sum(_FIELD_BYTES + _memory(name) + _memory(value) for name, value in record.fields.items())
        )
        self._pending.append((record, size))
        self._pending_bytes += size
        while self._pending_bytes > self._max_pending_bytes:
            self._pending_bytes -= self._pending.popleft()[1]
            self._dropped += 1
        self._arrived.set()
        if len(self._pending) >= BATCH_RECORDS:
            self._full.set()

    async def run(self) -> None:
        """Forever; cancelled, what is pending stays for `flush`."""
        pause_seconds = 0.0
        while True:
            await self._arrived.wait()
            try:
                async with asyncio.timeout(PERIOD_SECONDS):
                    await self._full.wait()
            except TimeoutError:
                pass
            if await self._ship_batch():
                pause_seconds = 0.0
            else:
                pause_seconds = min(max(2 * pause_seconds, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
                await asyncio.sleep(pause_seconds)

    async def flush(self) -> None:
        """Send what is pending, as far as the store takes it at once."""
        while self._pending and await self._ship_batch():
            pass

    async def _ship_batch(self) -> bool:
        batch, size = self._take()
        try:
            if batch:
                await self._ship([record for record, _ in batch])
        except InvalidError as error:
            self._log.error("the log store refuses lines", count=len(batch), error=error.message)
        except SandbankError as error:
            self._put_back(batch, size)
            if not self._is_failing:
                self._log.error("log lines wait for their store", pending=len(self._pending), error=error.message)
            self._is_failing = True
            return False
        except Exception as error:  # noqa: BLE001  # whatever some lines do, the others are to go on
            self._log.error("log lines cannot be sent", count=len(batch), error=repr(error))
        except BaseException:
            self._put_back(batch, size)
            raise
        if self._is_failing:
            self._log.info("the log store takes lines again", dropped=self._dropped)
        elif self._dropped:
            self._log.warning("log lines were dropped", dropped=self._dropped)
        self._is_failing, self._dropped = False, 0
        return True

    def _take(self) -> tuple[list[tuple[LogRecord, int]], int]:
        batch: list[tuple[LogRecord, int]] = []
        size = 0
        while self._pending and len(batch) < BATCH_RECORDS and (not batch or size + self._pending[0][1] <= BATCH_BYTES):
            batch.append(self._pending.popleft())
            size += batch[-1][1]
        self._pending_bytes -= size
        if not self._pending:
            self._arrived.clear()
        if len(self._pending) < BATCH_RECORDS:
            self._full.clear()
        return batch, size

    def _put_back(self, batch: list[tuple[LogRecord, int]], size: int) -> None:
        self._pending.extendleft(reversed(batch))
        self._pending_bytes += size
        if self._pending:
            self._arrived.set()


def _memory(value: object) -> int:
    """What it takes at most, here or in JSON, where most characters beyond ASCII become six."""
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        return max(getsizeof(value), _ESCAPED_BYTES * len(value))
    if isinstance(value, str | int | float | None):
        return getsizeof(value)
    return _NESTED_BYTES * len(str(value))
