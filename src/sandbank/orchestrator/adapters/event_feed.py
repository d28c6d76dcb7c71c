"""Lifecycle events for webhooks, on their way from this node to Redis (contract data-plane §12.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from sandbank.domain.errors import SandbankError
from sandbank.orchestrator.adapters.event_payload import event_payload
from sandbank.orchestrator.core.events import LifecycleEvent

MAX_PENDING_BYTES = 16 * 1024 * 1024
_EVENT_BYTES = 2048  # what an event takes besides its sandbox's configuration
_AT_ONCE = 100
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.5, 30.0
_COMPLAIN_SECONDS = 60.0
_FLUSH_SECONDS = 3.0


class EventStream(Protocol):
    """Where events go; see `sandbank.state.redis_event_stream`."""

    async def publish(self, events: Sequence[tuple[str, str]]) -> None: ...

    async def close(self) -> None: ...


class EventFeed:
    """Sends events in their order, again while the stream is away: a reader may see one twice, by its `id`. The oldest make room."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._pending: deque[LifecycleEvent] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._complain_at = 0.0
        self._log = structlog.get_logger("sandbank.orchestrator")

    def emit(self, event: LifecycleEvent) -> None:
        """See `sandbank.orchestrator.core.ports.Events`."""
        self._pending.append(event)
        self._pending_bytes += _size(event)
        while self._pending_bytes > MAX_PENDING_BYTES:
            self._take()
            self._dropped += 1
        self._arrived.set()

    async def run(self) -> None:
        """Forever; cancelled, what is pending stays for `stop`."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await self._arrived.wait()
            try:
                await self._send()
                pause = _FIRST_PAUSE_SECONDS
            except SandbankError as error:
                self._complain(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def stop(self) -> None:
        """Send what is left, as far as that goes within some seconds, and let go of the stream."""
        with contextlib.suppress(TimeoutError, SandbankError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._send()
        await self._stream.close()

    async def _send(self) -> None:
        while self._pending:
            batch = [self._pending[number] for number in range(min(_AT_ONCE, len(self._pending)))]
            await self._stream.publish([(event.sandbox.team_id, _text(event)) for event in batch])
            # Some may have made room meanwhile.
            sent = {event.event_id for event in batch}
            while self._pending and self._pending[0].event_id in sent:
                self._take()
        self._arrived.clear()

    def _take(self) -> None:
        self._pending_bytes -= _size(self._pending.popleft())

    def _complain(self, error: SandbankError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_SECONDS
            self._log.warning("events wait for Redis", reason=error.message, waiting=len(self._pending), dropped=self._dropped)


def _size(event: LifecycleEvent) -> int:
    return _EVENT_BYTES + len(event.sandbox.config)


def _text(event: LifecycleEvent) -> str:
    return json.dumps(event_payload(event), separators=(",", ":"))
