"""One connection to an origin: sends requests in turn, reads answers, tells where each ends."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Protocol, cast

from sandbank.proxy.body import Body, BodyError, ChunkedBody, LengthBody, OpenBody
from sandbank.proxy.head import MAX_HEAD_BYTES, REMEMBERED_BYTES, HeadError, ResponseHead, find_response_end, parse_response_head
from sandbank.proxy.load import Load
from sandbank.proxy.reset import reset

_MAX_INTERIM = 64  # 1xx answers before the final one: an endless row of them is no answer


class ResponseSink(Protocol):
    """Whoever asked, as the connection sees it. After `on_complete` or `on_lost` nothing more is called."""

    def on_interim(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101; the final one follows."""
        ...

    def on_head(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        """The final answer begins, with what has already come of its body; `open_ended` when that lasts until the connection ends.

        After a 101 raw bytes follow; `on_complete` then ends the tunnel both ways.
        """
        ...

    def on_body(self, data: bytes) -> None:
        """Bytes of the body, with or without their chunked framing as `begin` was told."""
        ...

    def on_trailers(self, lines: list[bytes]) -> None:
        """Header lines after the body, if its framing was taken off; `on_complete` follows."""
        ...

    def on_complete(self, *, reusable: bool) -> None:
        """The answer ended in order; the connection is the sink's to keep or to close."""
        ...

    def on_half_close(self) -> None:
        """The origin sends nothing more into a tunnel, but still reads."""
        ...

    def on_lost(self) -> None:
        """The connection broke, or what came was no HTTP."""
        ...

    def pause_request(self) -> None:
        """The origin does not read as fast as it is sent to."""
        ...

    def resume_request(self) -> None:
        """The origin reads again."""
        ...


class UpstreamOwner(Protocol):
    """Who keeps count of a connection."""

    load: Load

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """A connection to an origin, with at most one request at a time; `alpn` is what it offers where the origin speaks TLS."""

    alpn: ClassVar[str] = "http/1.1"

    __slots__ = (
        "_body",
        "_buffer",
        "_closed",
        "_ended_early",
        "_head_only",
        "_interim",
        "_keep_alive",
        "_last_head",
        "_last_raw",
        "_owner",
        "_paused",
        "_payload_only",
        "_reading",
        "_sink",
        "_tunnel",
        "_upgrade",
        "_working",
        "idle_since",
        "requests",
        "transport",
    )

    transport: asyncio.Transport
    _last_head: ResponseHead

    def __init__(self, owner: UpstreamOwner) -> None:
        self._owner = owner
        self._sink: ResponseSink | None = None
        self._buffer = b""
        self._body: Body | None = None
        self._tunnel = False
        self._closed = False
        self._ended_early = False
        self._interim = 0
        self._head_only = False
        self._payload_only = False
        self._upgrade = False
        self._keep_alive = False
        self._last_raw = b""
        self._paused = False
        self._working = False
        self._reading = True
        self.requests = 0
        self.idle_since = 0.0

    @property
    def closed(self) -> bool:
        """Whether this connection can carry nothing more."""
        return self._closed or self.transport.is_closing()

    def begin(self, sink: ResponseSink, *, head_only: bool, upgrade: bool, payload_only: bool) -> None:
        """Expect the answer to a request that the caller sends now: to a HEAD, with leave to switch protocols, without chunked framing."""
        self._sink = sink
        self._owner.load.requests += 1
        self._head_only = head_only
        self._upgrade = upgrade
        self._payload_only = payload_only
        self._interim = 0
        self.requests += 1
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._read_early)

    def send(self, data: bytes) -> None:
        """Send request bytes; the sink is paused when too many wait."""
        self.transport.write(data)

    def half_close(self) -> None:
        """Send no more, read on."""
        if not self.closed and self.transport.can_write_eof():  # in TLS there is no such thing
            self.transport.write_eof()

    def pause(self) -> None:
        """Read nothing more for now."""
        self._paused = True
        self._update_reading()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._update_reading()

    def _update_reading(self) -> None:
        reading = not (self._paused or self._working)
        if reading != self._reading and not self.closed:
            self._reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def close(self) -> None:
        """End the connection in order; the sink hears nothing more."""
        self._release()
        self.transport.close()

    def cut(self) -> None:
        """End the connection hard; the sink hears nothing more."""
        self._release()
        reset(self.transport)

    def fail(self) -> None:
        """End the connection hard and tell the sink."""
        sink = self._release()
        reset(self.transport)
        if sink is not None:
            sink.on_lost()

    def _release(self) -> ResponseSink | None:
        sink, self._sink = self._sink, None
        if sink is not None:
            self._owner.load.requests -= 1
        return sink

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            self._read_unasked(data)
        elif self._tunnel:
            sink.on_body(data)
        elif self._body is None:
            self._read_head(sink, data)
        else:
            self._read_body(sink, self._body, data)

    def eof_received(self) -> bool:
        sink = self._sink
        if sink is None:
            self._ended_early = bool(self._buffer)
            return self._ended_early
        if self._tunnel:
            if not self.transport.can_write_eof():
                self._finish(sink, reusable=False)
                return False
            sink.on_half_close()
            return True
        if isinstance(self._body, OpenBody):
            self._finish(sink, reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._owner.forget(self)
        sink = self._release()
        if sink is not None:
            sink.on_lost()

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.pause_request()

    def resume_writing(self) -> None:
        if self._sink is not None:
            self._sink.resume_request()

    # Reading answers.

    def _read_unasked(self, data: bytes) -> None:
        if self.requests:
            self.cut()  # an idle origin has nothing to say, and what it says must not meet the next request
            return
        # A server that answers whoever connects, as `nc -l < file` does: the request is on its way.
        self._buffer += data
        self.pause()

    def _read_early(self) -> None:
        sink = self._sink
        if sink is None or not self._buffer:
            return
        data, self._buffer = self._buffer, b""
        self.resume()
        self._read_head(sink, data)
        if self._ended_early and self._sink is not None and not self.eof_received():
            self.transport.close()

    def _read_head(self, sink: ResponseSink, data: bytes) -> None:
        searched = 0
        if self._buffer:
            searched = max(len(self._buffer) - 3, 0)  # a head that comes byte by byte is not searched again from its start
            data = self._buffer + data
            self._buffer = b""
        while True:
            if self._last_raw and data.startswith(self._last_raw):  # a busy origin repeats itself until its clock ticks
                head = self._last_head
                start = len(self._last_raw)
                break
            found = find_response_end(data, searched)
            searched = 0
            if found is None:
                if len(data) > MAX_HEAD_BYTES:
                    self.fail()
                else:
                    self._buffer = data
                return
            end, start = found
            try:
                head = _parse(data[:end])
            except HeadError:
                self.fail()
                return
            if head.status >= 200:
                if end <= REMEMBERED_BYTES:
                    self._last_head = head
                    self._last_raw = data[:start]
                break
            if head.status == 101:
                self._switch(sink, head, data[start:])
                return
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                self.fail()
                return
            sink.on_interim(head)
            if self._sink is None:
                return
            data = data[start:]
            if not data:
                return
        length = head.content_length
        if (
            length and start + length == len(data) and not (head.chunked or self._head_only or head.status in (204, 304))
        ):  # all of it is here
            sink.on_head(head, data[start:], open_ended=False)
            if self._sink is not None:
                self._finish(sink, reusable=head.keep_alive)
            return
        body = self._body_of(head)
        self._keep_alive = head.keep_alive
        if body is None:
            sink.on_head(head, b"", open_ended=False)
            if self._sink is not None:
                self._finish(sink, reusable=head.keep_alive and start == len(data))
            return
        self._body = body
        first, end = self._scan(body, data, start)
        if first is None:
            return
        sink.on_head(head, first, open_ended=type(body) is OpenBody)
        if self._sink is not None:
            self._after(sink, body, data, end)

    def _body_of(self, head: ResponseHead) -> Body | None:
        if self._head_only or head.status in (204, 304):
            return None
        if head.chunked:
            return ChunkedBody()
        if head.content_length is not None:
            return LengthBody(head.content_length) if head.content_length else None
        return OpenBody()

    def _switch(self, sink: ResponseSink, head: ResponseHead, rest: bytes) -> None:
        if not self._upgrade:
            self.fail()  # nobody asked for another protocol
            return
        self._tunnel = True
        sink.on_head(head, rest, open_ended=False)

    def _scan(self, body: Body, data: bytes, start: int) -> tuple[bytes | None, int]:
        """What of `data` the sink is to get, and where the body ends in it; None when the framing is broken and all is over."""
        payload: list[bytes] | None = [] if self._payload_only else None
        try:
            end = body.scan(data, start, payload)
        except BodyError:
            self.fail()
            return None, start
        if payload is not None:
            return b"".join(payload), end
        return (data if start == 0 and end == len(data) else data[start:end]), end

    def _read_body(self, sink: ResponseSink, body: Body, data: bytes) -> None:
        content, end = self._scan(body, data, 0)
        if content:
            sink.on_body(content)
        if self._sink is not None:
            self._after(sink, body, data, end)

    def _after(self, sink: ResponseSink, body: Body, data: bytes, end: int) -> None:
        if body.done:
            self._finish(sink, reusable=self._keep_alive and end == len(data))
        elif end < len(data):
            self._buffer = data[end:]
            self._working = True
            self._update_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._working = False
        data, self._buffer = self._buffer, b""
        if self._sink is not None and self._body is not None:
            self._read_body(self._sink, self._body, data)
        self._update_reading()

    def _finish(self, sink: ResponseSink, *, reusable: bool) -> None:
        body, self._body = self._body, None
        self._release()
        if self._payload_only and isinstance(body, ChunkedBody) and body.trailers:
            sink.on_trailers(body.trailers)
        sink.on_complete(reusable=reusable and not self.closed)


def _parse(block: bytes) -> ResponseHead:
    if len(block) > MAX_HEAD_BYTES:
        raise HeadError("head too large")
    return parse_response_head(block)
