"""Rows that nobody waits for: bounded, in order, never twice (contract templates-and-data §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from sandbank.clickhouse import batcher as module
from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import UnavailableError


class MemoryBackend:
    """Keeps inserted rows; refuses while `broken`, waits for `gate`."""

    def __init__(self) -> None:
        self.rows: list[Sequence[object]] = []
        self.batches: list[int] = []
        self.broken = False
        self.gate: asyncio.Event | None = None

    async def ask(self, operation: str, *arguments: Any) -> Any:
        assert operation == "insert"
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise UnavailableError("ClickHouse: Code: 243. NOT_ENOUGH_SPACE")
        self.rows += arguments[2]
        self.batches.append(len(arguments[2]))

    async def close(self) -> None:
        return


def make(kept: int = 10_000) -> tuple[MemoryBackend, Batcher]:
    backend = MemoryBackend()
    client = ClickHouse(backend)
    client.ready.set()
    return backend, Batcher(client, "t", ("n",), kept=kept)


async def test_a_thousand_rows_at_a_time_in_order() -> None:
    backend, batcher = make()
    for n in range(2500):
        batcher.add((n,))
    await batcher.flush()
    assert backend.batches == [1000, 1000, 500]
    assert backend.rows == [[n] for n in range(2500)]


async def test_a_thousand_rows_do_not_wait_for_the_second_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD_SECONDS", 3600)
    backend, batcher = make()
    running = asyncio.ensure_future(batcher.run())
    for n in range(1000):
        batcher.add((n,))
    async with asyncio.timeout(10):
        while not backend.rows:
            await asyncio.sleep(0)
    running.cancel()


async def test_a_full_disk_costs_nothing_until_rows_overflow_and_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD_SECONDS", 0.001)
    monkeypatch.setattr(module, "_MAX_PAUSE_SECONDS", 0.001)
    backend, batcher = make(kept=100)
    backend.broken = True
    with structlog.testing.capture_logs() as lines:
        running = asyncio.ensure_future(batcher.run())
        for n in range(150):
            batcher.add((n,))
            await asyncio.sleep(0.001)
        assert (len(batcher), batcher.dropped) == (100, 50)
        backend.broken = False
        async with asyncio.timeout(10):
            while len(batcher):
                await asyncio.sleep(0.001)
    running.cancel()
    assert backend.rows == [[n] for n in range(50, 150)]
    (line,) = lines
    assert (line["event"], line["table"], "NOT_ENOUGH_SPACE" in line["reason"]) == ("rows wait for ClickHouse", "t", True)


async def test_a_batch_on_its_way_when_the_loop_ends_is_not_written_again() -> None:
    """Starts of sandboxes add up: twice would be a wrong number."""
    backend, batcher = make()
    backend.gate = asyncio.Event()
    batcher.add((1,))
    flushing = asyncio.ensure_future(batcher.flush())
    await asyncio.sleep(0)
    batcher.add((2,))
    flushing.cancel()
    await asyncio.wait({flushing})
    backend.gate = None
    await batcher.flush()
    assert backend.rows == [[2]]
