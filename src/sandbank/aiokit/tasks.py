"""Tasks with a name and an owner. Bare ``create_task`` appears nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class TaskGroup:
    """Owns background tasks: keeps them referenced, reports how they fail, cancels and awaits them on `close`.

    Unlike `asyncio.TaskGroup` one failing task does not cancel its siblings: these are requests and loops that live side by side.
    """

    def __init__(self, owner: str, on_error: Callable[[str, BaseException], None]) -> None:
        self._owner = owner
        self._on_error = on_error
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `coroutine` until it ends or the group is closed."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._owner}.{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(task.get_name(), error)

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended, also when the caller is cancelled meanwhile."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await finish(_ended(*tasks))

    async def drain(self, timeout_seconds: float) -> None:
        """Give what still runs that long to end by itself, then `close`."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_seconds)
        await self.close()


async def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end even if the caller is cancelled meanwhile; the cancellation travels on afterwards."""
    task = asyncio.get_running_loop().create_task(coroutine, name="finish")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # `wait` and not `shield`: what it raises can only be meant for the caller, never for the task.
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()


async def run_unless(event: asyncio.Event, coroutine: Coroutine[Any, Any, Any], name: str) -> bool:
    """Run `coroutine` to its end and return True, or cancel it as soon as `event` is set and return False.

    What `coroutine` raises is raised here, also when it failed while being cancelled. When both happen at once, having ended counts.
    """
    loop = asyncio.get_running_loop()
    running = loop.create_task(coroutine, name=name)
    waiting = loop.create_task(event.wait(), name=f"{name}.unless")
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        running.cancel()
        await finish(_ended(running, waiting))
    if running.cancelled() and event.is_set():
        return False
    await running
    return True


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks)
