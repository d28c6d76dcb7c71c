from __future__ import annotations

import asyncio
import os
import signal

import pytest

from sandbank.domain.errors import InternalError, UnavailableError
from sandbank.servicekit.supervisor import Supervisor


class FakeService:
    def __init__(self, name: str, diary: list[str]) -> None:
        self.name = name
        self.diary = diary
        self.start_error: Exception | None = None
        self.start_gate = asyncio.Event()
        self.start_gate.set()
        self.stop_gate = asyncio.Event()
        self.stop_gate.set()
        self.stop_error: Exception | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        await self.start_gate.wait()
        if self.start_error:
            raise self.start_error
        self.diary.append(f"{self.name} starts")

    async def wait(self) -> None:
        await asyncio.shield(self.ended)

    async def stop(self) -> None:
        self.diary.append(f"{self.name} stops")
        await self.stop_gate.wait()
        if self.stop_error:
            raise self.stop_error
        self.diary.append(f"{self.name} stopped")


@pytest.fixture
async def diary() -> list[str]:
    return []


@pytest.fixture
async def services(diary: list[str]) -> list[FakeService]:
    return [FakeService(name, diary) for name in "abc"]


async def running(supervisor: Supervisor) -> asyncio.Task[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(supervisor.run(ready.set))
    await ready.wait()
    return task


STOPPED = ["c stops", "c stopped", "b stops", "b stopped", "a stops", "a stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_reverse(services: list[FakeService], diary: list[str], number: int) -> None:
    task = await running(Supervisor(services))
    assert diary == ["a starts", "b starts", "c starts"]
    os.kill(os.getpid(), number)
    await task
    assert diary[3:] == STOPPED


async def test_the_first_to_fail_stops_the_rest(services: list[FakeService], diary: list[str]) -> None:
    task = await running(Supervisor(services))
    services[1].ended.set_exception(KeyError("x"))
    with pytest.raises(InternalError, match=r"^b failed: KeyError"):
        await task
    assert diary[3:] == STOPPED


async def test_the_first_to_end_stops_the_rest(services: list[FakeService], diary: list[str]) -> None:
    task = await running(Supervisor(services))
    services[0].ended.set_result(None)
    with pytest.raises(InternalError, match=r"^a ended by itself$"):
        await task
    assert diary[3:] == STOPPED


async def test_what_started_is_stopped_when_the_next_cannot_start(services: list[FakeService], diary: list[str]) -> None:
    services[1].start_error = UnavailableError("port 3000 is taken")
    with pytest.raises(UnavailableError, match="port 3000 is taken"):
        await Supervisor(services).run()
    assert diary == ["a starts", *STOPPED[2:]]


async def test_stopping_while_starting(services: list[FakeService], diary: list[str]) -> None:
    services[2].start_gate.clear()
    supervisor = Supervisor(services)
    task = asyncio.create_task(supervisor.run())
    while len(diary) < 2:
        await asyncio.sleep(0)
    supervisor.stop()
    await task
    assert diary[2:] == STOPPED


async def test_a_second_signal_hurries(services: list[FakeService], diary: list[str]) -> None:
    services[2].stop_gate.clear()
    supervisor = Supervisor(services, hurry_seconds=0.01)
    task = await running(supervisor)
    supervisor.stop()
    while diary[-1] != "c stops":
        await asyncio.sleep(0)
    supervisor.stop()
    await task
    assert diary[3:] == ["c stops", *STOPPED[2:]]


async def test_stopping_is_bounded_and_one_failure_keeps_none_from_stopping(services: list[FakeService], diary: list[str]) -> None:
    services[2].stop_gate.clear()
    services[1].stop_error = OSError("no")
    supervisor = Supervisor(services, stop_seconds=0.01)
    task = await running(supervisor)
    supervisor.stop()
    await task
    assert diary[3:] == ["c stops", "b stops", "a stops", "a stopped"]


async def test_cancelled_it_stops_everything_first(services: list[FakeService], diary: list[str]) -> None:
    task = await running(Supervisor(services))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert diary[3:] == STOPPED
