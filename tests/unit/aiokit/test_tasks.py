from __future__ import annotations

import asyncio

import pytest

from sandbank.aiokit.tasks import TaskGroup, finish, run_unless


async def test_finish_finishes_although_cancelled_twice() -> None:
    gate, done = asyncio.Event(), []

    async def work() -> str:
        await gate.wait()
        done.append(1)
        return "result"

    task = asyncio.create_task(finish(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]


async def test_finish_does_not_lose_a_cancellation_that_meets_the_end() -> None:
    gate = asyncio.Event()
    task = asyncio.create_task(finish(gate.wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.set()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_finish_hands_on_results_and_errors() -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert await finish(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ValueError, match="no"):
        await finish(fail())


async def test_a_group_reports_failures_and_keeps_siblings() -> None:
    reported: list[tuple[str, BaseException]] = []
    group = TaskGroup("owner", lambda name, error: reported.append((name, error)))

    async def fail() -> None:
        raise ValueError("no")

    sibling = group.start("sibling", asyncio.Event().wait())
    failing = group.start("failing", fail())
    await asyncio.wait({failing})
    await asyncio.sleep(0)
    assert [(name, str(error)) for name, error in reported] == [("owner.failing", "no")]
    assert not sibling.done()
    await group.close()
    assert sibling.cancelled()


async def test_closing_a_group_finishes_although_cancelled() -> None:
    group = TaskGroup("owner", lambda name, error: None)
    ended: list[int] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append(1)

    group.start("stubborn", stubborn())
    await asyncio.sleep(0)
    closing = asyncio.create_task(group.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert ended == [1]


async def test_drain_waits_for_what_ends_by_itself() -> None:
    group = TaskGroup("owner", lambda name, error: None)
    quick = group.start("quick", asyncio.sleep(0.001, "done"))
    endless = group.start("endless", asyncio.Event().wait())
    await group.drain(0.05)
    assert quick.result() == "done"
    assert endless.cancelled()


async def test_run_unless() -> None:
    event = asyncio.Event()
    assert await run_unless(event, asyncio.sleep(0), "quick")
    interrupted = asyncio.create_task(run_unless(event, asyncio.Event().wait(), "endless"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    event.set()
    assert not await interrupted


async def test_run_unless_raises_what_it_ran() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_unless(asyncio.Event(), fail(), "failing")
