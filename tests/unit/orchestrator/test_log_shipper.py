"""Lines wait for their store within bounds (templates contract §5.1, §5.5)."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence

import pytest

from sandbank.domain.errors import InvalidError, SandbankError, UnavailableError
from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.orchestrator.adapters import log_shipper
from sandbank.orchestrator.adapters.log_shipper import BATCH_BYTES, BATCH_RECORDS, LogShipper
from sandbank.orchestrator.core.log_line import LogOrigin, parse_line


def record(message: str) -> LogRecord:
    return LogRecord(1, LogSubject("t", "i1"), "envd", "info", message)


class Store:
    def __init__(self, *failures: SandbankError) -> None:
        self.failures = list(failures)
        self.batches: list[list[str]] = []
        self.asked = 0
        self.arrived = asyncio.Event()

    async def ship(self, records: Sequence[LogRecord]) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append([record.message for record in records])
        self.arrived.set()

    @property
    def messages(self) -> list[str]:
        return [message for batch in self.batches for message in batch]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shipper, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(log_shipper, "_FIRST_PAUSE_SECONDS", 0.001)


async def until_arrived(shipper: LogShipper, store: Store) -> None:
    running = asyncio.ensure_future(shipper.run())
    async with asyncio.timeout(5):
        await store.arrived.wait()
    running.cancel()
    await asyncio.wait({running})


async def test_lines_of_a_moment_go_together() -> None:
    store = Store()
    shipper = LogShipper(store.ship)
    for number in range(5):
        shipper.write(record(str(number)))
    await until_arrived(shipper, store)
    assert store.batches == [["0", "1", "2", "3", "4"]]


async def test_batches_are_bounded() -> None:
    store = Store()
    shipper = LogShipper(store.ship)
    for number in range(BATCH_RECORDS + 1):
        shipper.write(record(str(number)))
    await shipper.flush()
    assert [len(batch) for batch in store.batches] == [BATCH_RECORDS, 1]


async def test_what_a_store_cannot_take_now_is_sent_again_in_order() -> None:
    store = Store(UnavailableError("down"), UnavailableError("429"))
    shipper = LogShipper(store.ship)
    shipper.write(record("a"))
    shipper.write(record("b"))
    await until_arrived(shipper, store)
    assert store.messages == ["a", "b"]
    assert store.asked == 3


async def test_what_a_store_will_never_take_is_given_up() -> None:
    store = Store(InvalidError("bad"))
    shipper = LogShipper(store.ship)
    shipper.write(record("a"))
    await shipper.flush()
    shipper.write(record("b"))
    await shipper.flush()
    assert store.messages == ["b"]


async def test_the_oldest_make_room_while_the_store_is_down() -> None:
    store = Store(*[UnavailableError("down")] * 4)
    shipper = LogShipper(store.ship, max_pending_bytes=20_000)
    for number in range(1000):
        shipper.write(record(str(number)))
        if number % 300 == 0:
            await shipper.flush()
    store.failures.clear()
    await shipper.flush()
    assert 10 <= len(store.messages) < 20
    assert store.messages[-1] == "999"
    assert store.messages == sorted(store.messages, key=int)


async def test_a_cancelled_batch_is_not_lost() -> None:
    hangs = asyncio.Event()

    async def hang(records: Sequence[LogRecord]) -> None:
        hangs.set()
        await asyncio.Event().wait()

    shipper = LogShipper(hang)
    shipper.write(record("a"))
    running = asyncio.ensure_future(shipper.run())
    await hangs.wait()
    running.cancel()
    await asyncio.wait({running})
    store = Store()
    shipper._ship = store.ship
    await shipper.flush()
    assert store.messages == ["a"]


@pytest.mark.parametrize("nested", ["[]", '{"a":{}}', '"\u00e9\U0001f600"'])
def test_what_waits_takes_no_more_memory_than_it_may(nested: str) -> None:
    """A sandbox's line of empty lists takes twenty times its length."""
    limit = 4 << 20
    shipper = LogShipper(Store().ship, max_pending_bytes=limit)
    data = f'{{"a":[{",".join([nested] * 15_000)}]}}'.encode()
    tracemalloc.start()
    try:
        for _ in range(20):
            parsed = parse_line(data, LogOrigin(LogSubject("t", "i1"), 0), 0)
            assert parsed is not None
            shipper.write(parsed)
            del parsed
        assert tracemalloc.get_traced_memory()[0] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("character", ["\u00e9", "\x01", "\U0001f600"])
async def test_batches_are_bounded_as_they_are_sent(character: str) -> None:
    """A store refuses what is too long in one, and would again and again: nobody's lines would get past a sandbox's."""
    sizes: list[int] = []

    async def ship(records: Sequence[LogRecord]) -> None:
        sizes.append(sum(len(one.line()) for one in records))

    shipper = LogShipper(ship)
    for _ in range(60):
        shipper.write(record(character * 20_000))
    await shipper.flush()
    assert max(sizes) <= 2 * BATCH_BYTES


async def test_lines_that_cannot_be_sent_at_all_keep_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a sandbox, nested as deep as it could still be read, ended the sending of all lines of the node."""
    monkeypatch.setattr(log_shipper, "BATCH_RECORDS", 1)
    store = Store()

    async def ship(records: Sequence[LogRecord]) -> None:
        if records[0].message == "poison":
            raise RecursionError
        await store.ship(records)

    shipper = LogShipper(ship)
    shipper.write(record("poison"))
    shipper.write(record("fine"))
    await until_arrived(shipper, store)
    assert store.messages == ["fine"]
