"""Undoing what was acquired: in reverse, exactly once, each step bounded, to the end although the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbank.aiokit.tasks import finish

DEFAULT_STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    undo: Callable[[], Awaitable[None] | None]
    timeout_seconds: float


class TeardownError(Exception):
    """Some steps failed or took too long; the others were done all the same. `failures` holds (step, error) in the order of undoing."""

    def __init__(self, owner: str, failures: list[tuple[str, BaseException]]) -> None:
        super().__init__(f"{owner}: " + "; ".join(f"{step}: {error!r}" for step, error in failures))
        self.failures = failures


class TeardownStack:
    """What an `AsyncExitStack` is not: one that finishes when its caller is cancelled, and goes on after a step that hangs.

    Push the release before the next `await` after acquiring. `close` may be called from several tasks; all of them wait for the one
    run and see the same outcome. A stack that was closed takes no further step: `push` then raises `RuntimeError`.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._steps: list[_Step] = []
        self._outcome: asyncio.Future[None] | None = None

    def push(self, name: str, undo: Callable[[], Awaitable[None] | None], timeout_seconds: float = DEFAULT_STEP_SECONDS) -> None:
        """Undo this before everything pushed so far. A plain function is called in the loop; `timeout_seconds` bounds only a coroutine."""
        if self._outcome is not None:
            raise RuntimeError(f"{self._owner} is being torn down")
        self._steps.append(_Step(name, undo, timeout_seconds))

    async def close(self) -> None:
        """Undo everything; `TeardownError` afterwards if steps failed.

        Cancelled, it finishes all the same and the cancellation travels on at the end. A step that runs out of its time is cancelled
        and counted as failed, so a step must not swallow its cancellation.
        """
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            # Nobody else may ever ask for the outcome; then its exception is not a forgotten one.
            self._outcome.add_done_callback(lambda outcome: outcome.exception())
            await finish(self._unwind(self._outcome))
        else:
            await finish(_settled(self._outcome))
        self._outcome.result()

    async def _unwind(self, outcome: asyncio.Future[None]) -> None:
        failures: list[tuple[str, BaseException]] = []
        while self._steps:
            step = self._steps.pop()
            try:
                await self._undo(step)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # cleanup step: the next one has to run
                failures.append((step.name, error))
        if failures:
            outcome.set_exception(TeardownError(self._owner, failures))
        else:
            outcome.set_result(None)

    async def _undo(self, step: _Step) -> None:
        pending = step.undo()
        if pending is not None:
            async with asyncio.timeout(step.timeout_seconds):
                await pending


async def _settled(outcome: asyncio.Future[None]) -> None:
    await asyncio.wait([outcome])
