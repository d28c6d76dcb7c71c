"""A connection to an origin that is asked in HTTP/2, by prior knowledge or ALPN. It carries one request."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog
from h2.events import DataReceived, Event, InformationalResponseReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import H2Error

from sandbank.proxy.head import HeadError
from sandbank.proxy.http2.engine import Engine
from sandbank.proxy.http2.guard import CalmError
from sandbank.proxy.http2.intake import Intake
from sandbank.proxy.http2.outbox import Outbox
from sandbank.proxy.http2.translation import Header, MalformedError, response_head, trailer_lines
from sandbank.proxy.upstream import ResponseSink, UpstreamConnection, UpstreamOwner

_STREAM = 1
_HIGH_BYTES = 64 * 1024

logger = structlog.get_logger(__name__)


class Http2Upstream(UpstreamConnection):
    """Speaks HTTP/2 where its base speaks HTTP/1.1; `ask`, `send` and `end` say a request in turn."""

    alpn: ClassVar[str] = "h2"

    __slots__ = ("_engine", "_flushing", "_full", "_held_bytes", "_holding", "_intake", "_loop", "_outbox", "_transport_full")

    def __init__(self, owner: UpstreamOwner) -> None:
        super().__init__(owner)
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(client_side=True)
        self._intake = Intake(self._engine, handle=self._handle, failed=self._failed, rested=self._rested)
        self._outbox = Outbox(self._engine, _STREAM)
        self._flushing: asyncio.Handle | None = None
        self._full = False
        self._transport_full = False
        self._holding = False
        self._held_bytes = 0

    # The request.

    def ask(self, headers: list[Header]) -> None:
        """Begin the request."""
        self._outbox.begin(headers)
        self._schedule()

    def send(self, data: bytes) -> None:
        """Send some of its body; the sink is paused when too much waits."""
        self._outbox.write(data)
        if self._outbox.size > _HIGH_BYTES and not self._full and self._sink is not None:
            self._full = True
            self._sink.pause_request()
        self._schedule()

    def end(self) -> None:
        """The request is complete."""
        self._outbox.end()
        self._schedule()

    def half_close(self) -> None:
        """A tunnel's business."""

    def pause(self) -> None:
        """Open the stream's window no further; reading goes on, for the request may depend on it."""
        self._holding = True

    def resume(self) -> None:
        """Open it again."""
        self._holding = False
        held, self._held_bytes = self._held_bytes, 0
        if held and not self.closed:
            self._engine.acknowledge_received_data(held, _STREAM)
            self._schedule()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._engine.begin()
        self.transport.write(self._engine.data_to_send())

    def data_received(self, data: bytes) -> None:
        self._intake.take(data)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, CalmError | H2Error | MalformedError | HeadError):
            logger.error("HTTP/2 origin failed", exc_info=error)
        self.fail()

    def _rested(self) -> None:
        self._flush()
        self._working = self._intake.waiting
        self._update_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._intake.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._transport_full = True

    def resume_writing(self) -> None:
        self._transport_full = False
        self._schedule()

    # The answer.

    def _handle(self, events: list[Event]) -> bool:
        for event in events:
            sink = self._sink
            if sink is None:
                return False
            if isinstance(event, DataReceived):
                self._body_received(sink, event)
            elif isinstance(event, ResponseReceived):
                sink.on_head(response_head(event.headers), b"", open_ended=False)
            elif isinstance(event, InformationalResponseReceived):
                self._interim += 1
                if self._interim > 64:
                    raise CalmError
                sink.on_interim(response_head(event.headers))
            elif isinstance(event, TrailersReceived):
                sink.on_trailers(trailer_lines(event.headers))
            elif isinstance(event, StreamEnded):
                self._release()
                sink.on_complete(reusable=False)
            elif isinstance(event, StreamReset) and event.remote_reset:
                self.fail()
        return not self._closed

    def _body_received(self, sink: ResponseSink, event: DataReceived) -> None:
        window_bytes = event.flow_controlled_length or 0
        if event.data:
            sink.on_body(event.data)
        if self._holding:
            self._held_bytes += window_bytes
        elif window_bytes and not self.closed:
            self._engine.acknowledge_received_data(window_bytes, _STREAM)

    # Sending.

    def _schedule(self) -> None:
        if self._flushing is None and not self._closed:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self.closed:
            return
        if not self._transport_full and self._outbox.waiting and self._sink is not None:
            try:
                self._outbox.flush()
            except H2Error:  # it allows no stream at all
                self.fail()
                return
        if data := self._engine.data_to_send():
            self.transport.write(data)
        if self._full and not self._outbox.size and self._sink is not None:
            self._full = False
            self._sink.resume_request()
