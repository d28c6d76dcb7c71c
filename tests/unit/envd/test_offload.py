"""Work that may block is done where it holds nobody up, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from sandbank.envd import offload
from sandbank.envd.offload import MAX_THREADS, Pace, in_turns, off_loop


@pytest.fixture(autouse=True)
def _quick_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(offload, "LINGER_SECONDS", 0.02)
    yield
    while any(thread.name == "offload" for thread in threading.enumerate()):
        time.sleep(0.005)


async def test_results_and_errors_come_back() -> None:
    assert await off_loop(lambda: threading.current_thread().name) == "offload"
    with pytest.raises(OSError, match="disk"):
        await off_loop(_fail)


def _fail() -> None:
    raise OSError("disk")


async def test_no_more_threads_than_allowed() -> None:
    most = 0

    def look() -> None:
        nonlocal most
        time.sleep(0.005)
        most = max(most, sum(thread.name == "offload" for thread in threading.enumerate()))

    await asyncio.gather(*(off_loop(look) for _ in range(20)))
    assert 1 < most <= MAX_THREADS


async def test_a_cancelled_caller_waits_for_the_end() -> None:
    ended = threading.Event()

    def work() -> None:
        time.sleep(0.03)
        ended.set()

    task = asyncio.ensure_future(off_loop(work))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_only_what_was_slow_leaves_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "SLOW_SECONDS", 0.005)
    pace = Pace()
    name = lambda: threading.current_thread().name  # noqa: E731
    assert await pace.call(name) == "MainThread"
    await pace.call(time.sleep, 0.006)
    assert await pace.call(name) == "offload"


async def test_long_work_is_done_in_turns_and_stops_when_cancelled() -> None:
    done = 0

    def steps(most: int) -> Iterator[None]:
        nonlocal done
        while done < most:
            done += 1
            time.sleep(0.001)
            yield

    await in_turns(steps(20))
    assert done == 20
    done = 0
    task = asyncio.ensure_future(in_turns(steps(100_000)))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < done < 1000
