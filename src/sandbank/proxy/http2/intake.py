"""Bytes that a peer sent, on their way into the engine: a little at a time, so that nobody's tiny frames hold everybody else up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from h2.events import Event

from sandbank.proxy.http2.engine import Engine

_TURN_SECONDS = 0.003
_MOST_BYTES = 16 * 1024
_LEAST_BYTES = 1024
_MANY_FRAMES = 64  # in one piece; a frame costs about as much as 10 kB of its content


class Intake:
    """`handle` gets events and says whether to go on, `failed` what the engine raised; `rested` is called at the end of each turn.

    While `waiting` the connection should not be read.
    """

    __slots__ = ("_engine", "_failed", "_handle", "_held", "_loop", "_next", "_piece_bytes", "_rested")

    def __init__(
        self,
        engine: Engine,
        *,
        handle: Callable[[list[Event]], bool],
        failed: Callable[[Exception], None],
        rested: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._handle = handle
        self._failed = failed
        self._rested = rested
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._next: asyncio.Handle | None = None
        self._piece_bytes = _MOST_BYTES

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for their turn."""
        return self._next is not None

    def take(self, data: bytes) -> None:
        """Process what came, now or in turns."""
        if self._next is not None:
            self._held += data
        else:
            self._turn(data)

    def stop(self) -> None:
        """Forget what waits."""
        self._held = b""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _continue(self) -> None:
        data, self._held = self._held, b""
        self._next = None
        self._turn(data)

    def _turn(self, data: bytes) -> None:
        until = time.monotonic() + _TURN_SECONDS
        now = self._loop.time()
        position = 0
        while position < len(data):
            piece = data[position : position + self._piece_bytes]
            position += len(piece)
            try:
                events, frames = self._engine.feed(piece, now)
                self._piece_bytes = _LEAST_BYTES if frames > _MANY_FRAMES else min(2 * self._piece_bytes, _MOST_BYTES)
                if not self._handle(events):
                    return
            except Exception as error:  # noqa: BLE001  # the connection's boundary: its owner tells errors apart, and ends it
                self._failed(error)
                return
            if position < len(data) and time.monotonic() > until:
                self._held = data[position:]
                self._next = self._loop.call_soon(self._continue)
                break
        self._rested()
