"""A client that speaks HTTP/2: its streams, and the bounds of what it may do to us (contract data-plane §7)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import structlog
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, StreamClosedError
from hyperframe.frame import GoAwayFrame

from sandbank.proxy.exchange import Exchange, Surroundings
from sandbank.proxy.head import HeadError
from sandbank.proxy.http2.engine import Engine
from sandbank.proxy.http2.grpc import GrpcExchange, is_grpc
from sandbank.proxy.http2.guard import CalmError
from sandbank.proxy.http2.intake import Intake
from sandbank.proxy.http2.liveness import Liveness
from sandbank.proxy.http2.stream import Http2Stream
from sandbank.proxy.http2.translation import Header, MalformedError, request_head
from sandbank.proxy.http2.upgrade import Upgrade
from sandbank.proxy.keepalive import watch
from sandbank.proxy.owner import ClientOwner
from sandbank.proxy.page import plain
from sandbank.proxy.reset import reset

_PING = b"sandbank"

logger = structlog.get_logger(__name__)


class Http2Connection(asyncio.Protocol):
    """Looks after itself once a second, in `expire`."""

    __slots__ = (
        "_around",
        "_closing",
        "_deaf",
        "_draining",
        "_first",
        "_flushing",
        "_idle_since",
        "_intake",
        "_liveness",
        "_lost",
        "_opened_at",
        "_owner",
        "_reading",
        "_secure",
        "_settled",
        "_streams",
        "_waiting",
        "_write_paused",
        "deadline",
        "engine",
        "transport",
    )

    transport: asyncio.Transport
    _liveness: Liveness

    def __init__(self, owner: ClientOwner, around: Surroundings) -> None:
        self._owner = owner
        self._around = around
        self._streams: dict[int, Http2Stream] = {}
        self._waiting: dict[int, Http2Stream] = {}  # those that have something to send, in the order of their turns
        self._flushing: asyncio.Handle | None = None
        self._write_paused = False
        self._reading = True
        self._deaf = False
        self._secure = False
        self._settled = False
        self._first: Upgrade | None = None
        self._draining = False
        self._closing = False
        self._lost = False
        self._opened_at = self._idle_since = around.loop.time()
        self.engine = Engine(client_side=False)
        self._intake = Intake(self.engine, handle=self._handle, failed=self._failed, rested=self._rested)
        self.deadline = 0.0

    # How a connection becomes one.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._start(cast(asyncio.Transport, transport))
        if (sock := self.transport.get_extra_info("socket")) is not None:
            watch(sock)
        self.engine.begin()
        if not self._owner.opened(self):
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM)
        self._flush()

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection whose first bytes, `data`, were HTTP/2's; it counts as opened already."""
        self._start(transport)
        self.engine.begin()
        self.data_received(data)

    def prepare_upgrade(self, settings: bytes) -> None:
        """Before `upgrade`, as nothing can be taken back after it: `BROKEN_SETTINGS` says that these are none."""
        self.engine.begin(settings)

    def upgrade(self, transport: asyncio.Transport, request: Upgrade) -> None:
        """Go on with a connection that was switched; its request becomes stream 1, as soon as the client has switched, too.

        Sooner would be allowed, but curl has no room for an answer that comes with the 101.
        """
        self._start(transport)
        self._first = request
        self._streams[1] = Http2Stream(self, 1, request.head, ended=True, raw=False)
        self.data_received(request.rest)

    def _begin_first(self, request: Upgrade) -> None:
        stream = self._streams.get(1)
        if stream is None:
            return
        body = request.body
        exchange = Exchange(self._around, stream, request.head, has_body=bool(body), payload_only=True)
        stream.begin(exchange)
        if body:
            exchange.send_request(body)
            exchange.end_request()

    def _start(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._secure = transport.get_extra_info("sslcontext") is not None
        transport.set_protocol(self)
        self._liveness = Liveness(transport, self._around.limits, self._opened_at)
        transport.set_write_buffer_limits(high=self._around.limits.buffer_bytes)

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        if not self._closing:
            self._liveness.heard(self._around.loop.time())
            self._intake.take(data)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CalmError):
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM)
        elif isinstance(error, H2Error):
            self._end()  # the library has put its GOAWAY into the engine's output
        else:
            logger.error("HTTP/2 connection failed", exc_info=error)
            self._fail(ErrorCodes.INTERNAL_ERROR)

    def _rested(self) -> None:
        if self.engine.guard.going_away and not self._streams:
            self._fail(ErrorCodes.NO_ERROR)
        self._flush()
        self._update_reading()

    def _update_reading(self) -> None:
        """Read unless bytes wait for their turn, or it asks and does not listen: answers would pile up."""
        if self._closing or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > 2 * self._around.limits.buffer_bytes:
            self._deaf = True
        reading = not (self._deaf or self._intake.waiting)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._liveness.heard(self._around.loop.time())
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        return False  # a client that ends its side can no longer open windows

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = self._lost = True
        self._owner.closed(self)
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._cancel_streams()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = self._deaf = False
        self._update_reading()
        self._schedule_flush()

    # What the server calls.

    def expire(self) -> None:
        """See `Connection`."""
        limits = self._around.limits
        now = self._around.loop.time()
        if self._closing:
            if self._liveness.is_lost(now, limits.linger_seconds):
                self.transport.abort()
            return
        began_at = self.engine.guard.block_began_at
        opened_late = not self._settled and now - self._opened_at > limits.header_timeout_seconds
        if opened_late or (began_at is not None and now - began_at > limits.header_timeout_seconds):
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM)
        elif not self._streams and now - self._idle_since > limits.idle_timeout_seconds:
            self._fail(ErrorCodes.NO_ERROR)
        elif self._reading:
            if self._liveness.should_ask(now):
                self.engine.ping(_PING)
            elif self._liveness.is_lost(now, limits.ping_timeout_seconds):
                self.abort()
        for stream in tuple(self._streams.values()):
            if now - stream.ended_at > limits.linger_seconds:
                stream.stop_upload()
        self._flush()

    def drain(self) -> None:
        """See `Connection`."""
        if self._closing or self._draining:
            return
        self._draining = True
        if not self._streams:
            self._fail(ErrorCodes.NO_ERROR)
        else:
            # Not through the library, which would send nothing more after it.
            self.transport.write(GoAwayFrame(0, last_stream_id=self.engine.highest_inbound_stream_id).serialize())

    def abort(self) -> None:
        """See `Connection`."""
        self._closing = True
        if not self._lost:
            reset(self.transport)
        self._cancel_streams()

    # Streams.

    def _handle(self, events: list[Event]) -> bool:
        given_up = {event.stream_id for event in events if type(event) is StreamReset}
        emptied = _without_body(events)
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                self._receive(cast(DataReceived, event))
            elif kind is RequestReceived:
                request = cast(RequestReceived, event)
                if request.stream_id not in given_up:
                    ended = request.stream_ended is not None or request.stream_id in emptied
                    self._open(request.stream_id, request.headers, ended=ended)
            elif kind is StreamEnded:
                if (stream := self._streams.get(cast(StreamEnded, event).stream_id)) is not None:
                    stream.receive_end()
            elif kind is TrailersReceived:
                trailers = cast(TrailersReceived, event)
                if (stream := self._streams.get(trailers.stream_id)) is not None:
                    stream.receive_end(trailers.headers)
            elif kind is StreamReset:
                if not cast(StreamReset, event).remote_reset:
                    self.engine.guard.provoked(self.now())
                if (stream := self._streams.get(cast(StreamReset, event).stream_id)) is not None:
                    self.forget(stream)
                    stream.receive_reset()
            elif kind is RemoteSettingsChanged:
                self._settled = True
                if self._first is not None:
                    first, self._first = self._first, None
                    self._begin_first(first)
            if self._closing:
                return False
        return True

    def _receive(self, event: DataReceived) -> None:
        window_bytes = event.flow_controlled_length or 0
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.receive(event.data or b"", window_bytes)
        elif window_bytes:
            self.engine.acknowledge_received_data(window_bytes, event.stream_id)

    def _open(self, stream_id: int, headers: list[Header], *, ended: bool) -> None:
        if self._draining:
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = request_head(headers, ended=ended)
        except MalformedError:
            self._reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        except HeadError as error:
            self._refuse(stream_id, error.status, f"Bad request: {error}", ended=ended)
            return
        if head.method == b"CONNECT":
            self._refuse(stream_id, 405, "Method not allowed", ended=ended)
            return
        head.secure = self._secure
        grpc = is_grpc(head)
        stream = self._streams[stream_id] = Http2Stream(self, stream_id, head, ended=ended, raw=grpc)
        has_body = head.chunked or head.content_length > 0
        kind = GrpcExchange if grpc else Exchange
        stream.begin(kind(self._around, stream, head, has_body=has_body, payload_only=True))

    def _refuse(self, stream_id: int, status: int, text: str, *, ended: bool) -> None:
        stream = self._streams[stream_id] = Http2Stream(self, stream_id, _REFUSED, ended=ended, raw=True)
        stream.refuse(plain(status, text))

    def now(self) -> float:
        """See `StreamOwner`."""
        return self._around.loop.time()

    def wake(self, stream: Http2Stream) -> None:
        """See `StreamOwner`."""
        if stream.outbox.waiting:
            self._waiting[stream.stream_id] = stream
        self._schedule_flush()

    def interim(self, stream: Http2Stream, headers: list[Header]) -> None:
        """See `StreamOwner`."""
        if not self._write_paused:
            self.engine.send_headers(stream.stream_id, headers)
            self._schedule_flush()

    def forget(self, stream: Http2Stream) -> None:
        """See `StreamOwner`."""
        self._waiting.pop(stream.stream_id, None)
        if self._streams.pop(stream.stream_id, None) is None or self._streams or self._closing:
            return
        self._idle_since = self._around.now
        if self._draining or self.engine.guard.going_away:
            self._fail(ErrorCodes.NO_ERROR)

    def reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        """See `StreamOwner`."""
        if not self._closing and stream.stream_id in self._streams:
            self._reset(stream.stream_id, code)
            self.forget(stream)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        if code == ErrorCodes.PROTOCOL_ERROR:
            self.engine.guard.provoked(self.now())
        with contextlib.suppress(StreamClosedError):  # by the client, in the same bytes
            self.engine.reset_stream(stream_id, code)
        self._schedule_flush()

    def _cancel_streams(self) -> None:
        self._intake.stop()
        streams, self._streams = self._streams, {}
        self._waiting = {}
        for stream in streams.values():
            stream.receive_reset()

    # Sending.

    def _schedule_flush(self) -> None:
        if self._flushing is None and not self._closing:
            self._flushing = self._around.loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._closing:
            return
        self._flush_streams()
        if not self._closing and (data := self.engine.data_to_send()):
            self.transport.write(data)
            self._update_reading()

    def _flush_streams(self) -> None:
        for stream in tuple(self._waiting.values()):
            if self._write_paused or self._closing:
                return
            if self._waiting.pop(stream.stream_id, None) is None:
                continue
            try:
                stream.flush()
            except H2Error:  # our own fault; without this the stream would wait for ever
                logger.exception("HTTP/2 stream failed")
                self._fail(ErrorCodes.INTERNAL_ERROR)
                return
            if stream.outbox.waiting:
                self._waiting[stream.stream_id] = stream  # behind the others

    # The end.

    def _fail(self, code: ErrorCodes) -> None:
        if not self._closing:
            self.engine.close_connection(code)
            self._end()

    def _end(self) -> None:
        """Say what the engine has to say, end our side, and give the client time to read it."""
        if self._closing:
            return
        self._closing = True
        self._cancel_streams()
        if data := self.engine.data_to_send():
            self.transport.write(data)
        self._liveness.expect(self._around.loop.time())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


def _without_body(events: list[Event]) -> set[int]:
    """Streams that began and ended in these events with nothing between: an empty DATA frame is no body."""
    began: set[int] = set()
    ended: set[int] = set()
    for event in events:
        if type(event) is RequestReceived:
            began.add(event.stream_id)
        elif (type(event) is DataReceived and event.data) or type(event) is TrailersReceived:
            began.discard(event.stream_id)
        elif type(event) is StreamEnded:
            ended.add(event.stream_id)
    return began & ended


_REFUSED = request_head([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"none")], ended=True)
