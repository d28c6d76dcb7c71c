"""One reader of a process's events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sandbank.contracts.process import ProcessEvent
from sandbank.domain.errors import SandbankError

MAX_EVENTS = 64  # data-plane contract §2.6
MAX_BYTES = 128 * 1024  # of up to 64 pieces of 32 KiB: a sandbox's memory belongs to its user


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output; `stream` is `stdout`, `stderr` or `pty`."""

    stream: str
    data: bytes


Event = Output | ProcessEvent.EndEvent


class Subscription:
    """A queue that says when it is full; the process's output waits then (`on_drained` lets it go on)."""

    def __init__(self, on_drained: Callable[[], None]) -> None:
        self._on_drained = on_drained
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._error: SandbankError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the reader is too far behind."""
        return len(self._events) >= MAX_EVENTS or self._bytes >= MAX_BYTES

    def put(self, event: Event) -> None:
        """Queue one event."""
        self._events.append(event)
        if isinstance(event, Output):
            self._bytes += len(event.data)
        self._wake()

    def fail(self, error: SandbankError) -> None:
        """End the reader with `error` instead of what is queued."""
        self._error = error
        self._wake()

    async def take(self) -> list[Event]:
        """Everything queued, at least one event; raises what `fail` was given. Cancelling loses nothing."""
        while not self._events and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error
        events = list(self._events)
        self._events.clear()
        self._bytes = 0
        self._on_drained()
        return events

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
