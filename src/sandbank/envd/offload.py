"""Work that may block for long, done off the event loop by threads that exist only while there is some.

An idle sandbox has one thread: a stack less in memory, and nothing that a memory snapshot could meet half-way. Work that is short in all
but bad cases stays on the loop until it proves slow (`Pace`), because a change of threads costs more than a write into the page cache.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sandbank.aiokit.tasks import finish

T = TypeVar("T")

MAX_THREADS = 4
LINGER_SECONDS = 1.0
SLOW_SECONDS = 0.02
_WARY_CALLS = 16
_FIRST_TURN_SECONDS = 0.002
_TURN_SECONDS = 0.1


class _Pool:
    """Threads end by themselves after a second without work; they never outlive the process, being daemons."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Callable[[], None]) -> None:
        with self._news:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._news.notify()
            elif self._threads < MAX_THREADS:
                self._threads += 1
                try:
                    threading.Thread(target=self._work, name="offload", daemon=True).start()
                except RuntimeError:  # no process slot is left; a thread that runs will come to it
                    self._threads -= 1
                    if not self._threads:
                        self._jobs.pop()
                        raise

    def _work(self) -> None:
        while True:
            with self._news:
                self._idle += 1
                there_is_work = self._news.wait_for(lambda: bool(self._jobs), LINGER_SECONDS)
                self._idle -= 1
                if not there_is_work:
                    self._threads -= 1
                    return
                job = self._jobs.popleft()
            job()


_pool = _Pool()


async def off_loop(function: Callable[..., T], *arguments: Any) -> T:
    """The result of `function` run in a thread; it runs to its end, and a cancelled caller waits for that, so descriptors stay valid."""
    return await finish(_run(function, arguments))


async def _run(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def job() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # handed on to who waits
            loop.call_soon_threadsafe(outcome.set_exception, error)
        else:
            loop.call_soon_threadsafe(outcome.set_result, result)

    try:
        _pool.submit(job)
    except RuntimeError:  # not one thread to be had: better late than never
        return function(*arguments)
    return await outcome


class Pace:
    """Calls one kind of function on the loop while it is quick, and off the loop once it was slow, until it is quick again."""

    def __init__(self) -> None:
        self._wary_calls = 0

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of `function`; waits until it has ended, also when cancelled."""
        begun = time.monotonic()
        try:
            if not self._wary_calls:
                return function(*arguments)
            return await off_loop(function, *arguments)
        finally:
            if time.monotonic() - begun > SLOW_SECONDS:
                self._wary_calls = _WARY_CALLS
            elif self._wary_calls:
                self._wary_calls -= 1


async def in_turns(steps: Iterator[None]) -> None:
    """Run long work that yields after every short step: briefly on the loop, then off it, in turns that leave threads to others.

    Cancelled, it stops between two steps.
    """
    if _advance(steps, _FIRST_TURN_SECONDS):
        while await off_loop(_advance, steps, _TURN_SECONDS):
            pass


def _advance(steps: Iterator[None], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    return any(time.monotonic() > deadline for _ in steps)
