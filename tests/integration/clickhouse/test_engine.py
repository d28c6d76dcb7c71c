"""The embedded engine as a child process: it may die, hang or be somebody else's, and nothing but a few rows is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.clickhouse.backends import EngineBackend
from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.service import ClickHouseService
from sandbank.domain.errors import ConflictError, InvalidError, UnavailableError

TABLE = "CREATE TABLE IF NOT EXISTS numbers_kept (n UInt64) ENGINE = MergeTree ORDER BY n"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ClickHouse]:
    client = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    await client.command(TABLE)
    client.ready.set()
    yield client
    await client.close()


def engine(client: ClickHouse) -> EngineBackend:
    assert isinstance(client.backend, EngineBackend)
    return client.backend


async def answers(client: ClickHouse) -> None:
    """Wait until it does; it is started again after a pause."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(UnavailableError):
                await client.query("SELECT 1")
                return
            await asyncio.sleep(0.05)


async def kept(client: ClickHouse) -> list[int]:
    return [n for (n,) in await client.query("SELECT n FROM numbers_kept ORDER BY n")]


async def test_what_was_written_survives_a_kill_of_the_engine(client: ClickHouse) -> None:
    await client.insert("numbers_kept", ["n"], [(n,) for n in range(100)])
    pid = engine(client).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="it will be started again"):
        await client.query("SELECT 1")
    await answers(client)
    assert engine(client).pid != pid
    assert await kept(client) == list(range(100))


async def test_rows_wait_while_the_engine_is_dead_and_are_written_by_the_next_one(client: ClickHouse) -> None:
    batcher = Batcher(client, "numbers_kept", ["n"])
    running = asyncio.ensure_future(batcher.run())
    for n in range(5000):
        batcher.add((n,))
        if n == 2500:
            await asyncio.sleep(0.3)
            pid = engine(client).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while len(batcher):
            await asyncio.sleep(0.05)
    running.cancel()
    await answers(client)
    found = await kept(client)
    assert set(found) == set(range(5000))  # a batch whose answer was lost with the engine may be there twice
    assert batcher.dropped == 0


async def test_a_store_that_is_away_costs_the_oldest_rows_and_no_more(tmp_path: Path) -> None:
    client = ClickHouse.connect("http://127.0.0.1:9/default")
    batcher = Batcher(client, "numbers_kept", ["n"], kept=1500)
    for n in range(4000):
        batcher.add((n,))
    assert (len(batcher), batcher.dropped) == (1500, 2500)
    with pytest.raises(UnavailableError):
        await batcher.flush()
    assert (len(batcher), batcher.dropped) == (1500, 2500)
    await client.close()


async def test_a_cancelled_question_neither_ends_the_engine_nor_disturbs_the_next(client: ClickHouse) -> None:
    pid = engine(client).pid
    slow = asyncio.ensure_future(client.query("SELECT sleep(1)"))
    await asyncio.sleep(0.1)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await client.query("SELECT 7") == [(7,)]
    assert engine(client).pid == pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_for_the_whole_service_leaves_the_engine_to_write_the_last_rows(client: ClickHouse, number: signal.Signals) -> None:
    pid = engine(client).pid
    assert pid is not None
    os.kill(pid, number)
    await client.insert("numbers_kept", ["n"], [(1,)])
    assert await kept(client) == [1]
    assert engine(client).pid == pid
    assert os.getsid(pid) != os.getsid(0)


async def test_questions_that_wait_when_it_is_closed_are_answered(client: ClickHouse, tmp_path: Path) -> None:
    waiting = [asyncio.ensure_future(client.insert("numbers_kept", ["n"], [(n,)])) for n in range(5)]
    await asyncio.sleep(0)
    await client.close()
    await asyncio.gather(*waiting)
    again = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    assert await kept(again) == list(range(5))
    await again.close()


async def test_two_processes_do_not_share_a_directory(client: ClickHouse, tmp_path: Path) -> None:
    second = ClickHouse.connect(f"chdb://{tmp_path}/clickhouse")
    with pytest.raises(UnavailableError, match="is open in another process"):
        await second.query("SELECT 1")
    await second.close()


def test_the_engine_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = f"""
import asyncio
from sandbank.clickhouse.client import ClickHouse

async def main():
    client = ClickHouse.connect("chdb://{tmp_path}/clickhouse")
    await client.start()
    print(client.backend.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}/cmdline").exists() and b"clickhouse.engine" in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < end, "the engine outlived its parent"
        time.sleep(0.05)


async def test_the_service_waits_for_a_store_that_comes_late_and_refuses_one_that_is_newer(tmp_path: Path) -> None:
    directory = tmp_path / "clickhouse"
    holder = ClickHouse.connect(f"chdb://{directory}")
    await holder.start()
    client = ClickHouse.connect(f"chdb://{directory}")
    service = ClickHouseService(client)
    await service.start()
    waiting = asyncio.ensure_future(service.wait())
    await asyncio.sleep(0.3)
    assert not client.ready.is_set()
    await holder.close()
    async with asyncio.timeout(30):
        await client.ready.wait()
    assert not waiting.done()
    waiting.cancel()
    await client.insert("_migrations", ["version_id", "is_applied"], [(9001, 1)])
    await service.stop()

    newer = ClickHouseService(ClickHouse.connect(f"chdb://{directory}"))
    await newer.start()
    with pytest.raises(ConflictError, match="schema 9001"):
        async with asyncio.timeout(30):
            await newer.wait()
    await newer.stop()


@pytest.mark.parametrize("text", ["chdb://relative/path", "chdb:", "mysql://h/db", "http://", "nonsense", "clickhouse://h:port/db"])
def test_a_connection_string_that_means_nothing_is_named(text: str) -> None:
    with pytest.raises(InvalidError, match="CLICKHOUSE_CONNECTION_STRING"):
        ClickHouse.connect(text)
