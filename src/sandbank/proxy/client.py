"""One HTTP/1.1 connection of a client: takes its requests one after the other, pipelined or not."""

from __future__ import annotations

import asyncio
import math
from typing import cast

from sandbank.proxy.body import Body, BodyError, ChunkedBody, LengthBody
from sandbank.proxy.exchange import Exchange, Surroundings
from sandbank.proxy.head import MAX_HEAD_BYTES, HeadError, RequestHead, ResponseHead, parse_request_head
from sandbank.proxy.http2.connection import Http2Connection
from sandbank.proxy.http2.engine import PREFACE
from sandbank.proxy.http2.upgrade import BROKEN_SETTINGS, SWITCHING, Upgrade, upgrade_settings
from sandbank.proxy.keepalive import watch
from sandbank.proxy.owner import ClientOwner
from sandbank.proxy.page import Page, plain
from sandbank.proxy.progress import acknowledged_bytes
from sandbank.proxy.reset import reset
from sandbank.proxy.rewrite import rewrite_response

_HEAD = 0  # between requests, or inside a head
_EXCHANGE = 1  # a request is being served
_DISCARD = 2  # the answer is complete, the request's body is not: its rest is thrown away
_TUNNEL = 3  # after 101: bytes both ways
_LINGER = 4  # we have ended the connection and wait for the client to do so
_UPGRADE = 5  # the body of a request comes, after which the connection speaks HTTP/2
_CLOSED = 6

_TLS_HANDSHAKE = b"\x16\x03"  # record type and major version
_PREFACE_HEAD = PREFACE[:18]  # up to its empty line: what looks like a request's head
_NO_HEAD = parse_request_head(b"OPTIONS * HTTP/1.1\r\nHost: none")  # before the first request


class ClientConnection(asyncio.Protocol):
    """A client, its unread bytes and the exchange it is in. `deadline` is in the loop's time; the server's sweep enforces it."""

    __slots__ = (
        "_around",
        "_body",
        "_buffer",
        "_discarded",
        "_eof",
        "_exchange",
        "_head",
        "_keep_alive",
        "_owner",
        "_reading",
        "_request_held",
        "_response_begun",
        "_secure",
        "_state",
        "_taken",
        "_upgrading",
        "_working",
        "_write_paused",
        "deadline",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, owner: ClientOwner, around: Surroundings) -> None:
        self._owner = owner
        self._around = around
        self._buffer = b""
        self._head = _NO_HEAD
        self._body: Body | None = None
        self._exchange: Exchange | None = None
        self._state = _HEAD
        self._keep_alive = True
        self._eof = False
        self._discarded = 0
        self._reading = True
        self._request_held = False
        self._response_begun = False
        self._secure = False
        self._taken = 0
        self._upgrading: tuple[Upgrade, Http2Connection] | None = None
        self._working = False
        self._write_paused = False
        self.deadline = math.inf

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.deadline = self._around.loop.time() + self._around.limits.idle_timeout_seconds
        self.transport.set_write_buffer_limits(high=self._around.limits.buffer_bytes)
        self._secure = self.transport.get_extra_info("sslcontext") is not None
        if (sock := self.transport.get_extra_info("socket")) is not None:
            watch(sock)
        if not self._owner.opened(self):
            self._reject(plain(503, "Too many connections"))

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _HEAD:
            if self._write_paused:
                self._keep(data)
            else:
                self._read_head(self._buffer + data if self._buffer else data)
        elif state == _EXCHANGE:
            if self._body is not None:
                self._read_body(self._body, data)
            else:
                self._keep(data)
        elif state == _TUNNEL:
            if self._exchange is not None:
                self._exchange.send_request(data)
        elif state == _DISCARD:
            self._discard(data)
        elif state == _UPGRADE:
            self._read_upgrade(data)
        elif state == _LINGER:
            self._discarded += len(data)
            if self._discarded > self._around.limits.discard_bytes:
                self._abort()

    def eof_received(self) -> bool:
        self._eof = True
        if not self.transport.can_write_eof():
            return False  # TLS has no half of a connection to keep
        if self._state in (_EXCHANGE, _TUNNEL) and self._body is None:
            # A client that only stops sending still gets its answer; whether it has gone, the origin may judge.
            if self._exchange is not None and not self._buffer:
                self._exchange.client_ended()
            return True
        if self._state == _HEAD and self._buffer:
            self._schedule_next()  # complete requests in there still count
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._owner.closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.resume_response()
        elif self._state == _HEAD:
            self._read_next()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = math.inf
        if self._state == _HEAD and self._buffer:
            self._reject(plain(408, "Request head took too long"))
        elif self._state == _LINGER:
            self._stop_lingering()
        elif self._state == _DISCARD:
            self._linger()
        else:
            self._close()

    def drain(self) -> None:
        """See `Connection`."""
        if self._state == _HEAD:
            self.transport.close()

    # Reading requests.

    def _read_head(self, data: bytes) -> None:
        if data.startswith(b"\r\n"):
            data = _without_empty_lines(data)
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(data) > MAX_HEAD_BYTES:
                self._reject(plain(431, "Request head too large"))
            elif b"\n\n" in data or b"\n\r\n" in data:
                self._reject(plain(400, "Bad request: bare line feed"))
            elif data.startswith(_TLS_HANDSHAKE):
                # At once: Docker tries TLS first, and goes on without it when it is told in HTTP that there is none.
                self._reject(plain(400, "Bad request: TLS is not spoken here"))
            else:
                if not self._buffer and data:
                    self.deadline = self._around.loop.time() + self._around.limits.header_timeout_seconds
                self._buffer = data
                self._update_reading()
            return
        block = data[:end]
        if block == self._head.block:  # clients that keep a connection mostly repeat themselves on it
            self._begin(self._head, data[end + 4 :])
            return
        try:
            head = parse_request_head(block)
        except HeadError as error:
            if data.startswith(_PREFACE_HEAD) and self._head is _NO_HEAD:
                self._become_http2(data)
                return
            self._reject(plain(error.status, f"Bad request: {error}"))
            return
        if head.method == b"CONNECT":
            self._reject(plain(405, "Method not allowed"))
            return
        self._begin(head, data[end + 4 :])

    def _upgrade(self, head: RequestHead, rest: bytes) -> bool:
        """Go on in HTTP/2 if this request asks for it and can be had that way (contract data-plane §7: `Upgrade: h2c`)."""
        settings = upgrade_settings(head) if self.transport.can_write_eof() else None  # TLS has ALPN for it
        if settings is None:
            return False
        connection = Http2Connection(self._owner, self._around)
        try:
            connection.prepare_upgrade(settings)
        except BROKEN_SETTINGS:
            return False
        self._buffer = b""
        self._state = _UPGRADE
        self._upgrading = Upgrade(head), connection
        self.deadline = self._around.loop.time() + self._around.limits.idle_timeout_seconds
        self._read_upgrade(rest)
        return True

    def _read_upgrade(self, data: bytes) -> None:
        if self._upgrading is None:
            return
        upgrade, connection = self._upgrading
        if upgrade.add(data):
            self._upgrading = None
            self.transport.write(SWITCHING)
            self._leave_to(connection)
            connection.upgrade(self.transport, upgrade)

    def _become_http2(self, data: bytes) -> None:
        """The connection's first bytes are the preface of HTTP/2 (contract data-plane §7: h2c by prior knowledge)."""
        connection = Http2Connection(self._owner, self._around)
        self._leave_to(connection)
        connection.take_over(self.transport, data)

    def _leave_to(self, connection: Http2Connection) -> None:
        self._state = _CLOSED
        self._buffer = b""
        self._owner.opened(connection)  # before the other one is forgotten, or the server might seem empty
        self._owner.closed(self)

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        if head.connection and b"http2-settings" in head.fields and self._upgrade(head, rest):
            return
        has_body = head.chunked or head.content_length > 0
        self._buffer = b"" if has_body else rest
        self._head = head
        head.secure = self._secure
        self._keep_alive = head.keep_alive
        self._response_begun = False
        self.deadline = math.inf
        if head.chunked:
            self._body = ChunkedBody()
        elif head.content_length:
            self._body = LengthBody(head.content_length)
        self._state = _EXCHANGE
        self._exchange = exchange = Exchange(self._around, self, head, has_body=has_body)
        exchange.start()
        if has_body and rest:
            self.data_received(rest)
        self._heed_eof()

    def _heed_eof(self) -> None:
        if self._eof and self._state == _EXCHANGE and not self._working:
            if self._body is not None:
                self._close()
            elif not self._buffer and self._exchange is not None:
                self._exchange.client_ended()

    def _read_body(self, body: Body, data: bytes) -> None:
        try:
            end = body.scan(data, 0)
        except BodyError as error:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.cancel()
            self._body_broken(error)
            return
        exchange = self._exchange
        if exchange is not None:
            exchange.send_request(data if end == len(data) else data[:end])
        if body.done:
            self._body = None
            if exchange is not None:
                exchange.end_request()
            if end < len(data):
                self._keep(data[end:])
        elif end < len(data):
            self._go_on_later(data[end:])

    def _go_on_later(self, rest: bytes) -> None:
        self._buffer = rest
        self._working = True
        self._update_reading()
        self._around.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._working = False
        if self._state in (_EXCHANGE, _DISCARD) and self._buffer:
            data, self._buffer = self._buffer, b""
            self.data_received(data)
            self._heed_eof()
        self._update_reading()

    def _body_broken(self, error: BodyError) -> None:
        if self._response_begun:
            self._abort()
        else:
            self._reject(plain(400, f"Bad request: {error}"))

    def _discard(self, data: bytes) -> None:
        body = self._body
        if body is None:
            return
        try:
            end = body.scan(data, 0)
        except BodyError:
            self._linger()
            return
        self._discarded += end
        if body.done:
            self._body = None
            self._buffer = data[end:]
            self._next()
        elif self._discarded > self._around.limits.discard_bytes:
            self._linger()
        elif end < len(data):
            self._go_on_later(data[end:])

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        self._update_reading()

    def _update_reading(self) -> None:
        """Read from the client unless the origin is slow, the answers pile up, or what it sent ahead waits already."""
        too_much = len(self._buffer) > MAX_HEAD_BYTES
        reading = not (self._request_held or self._working or too_much or (self._write_paused and self._state == _HEAD))
        if reading != self._reading and not self.transport.is_closing():
            self._reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    # After an answer.

    def _finished(self) -> None:
        self._exchange = None
        self._request_held = False
        if self._body is None:
            self._next()
            return
        self._state = _DISCARD
        self._discarded = 0
        self.deadline = self._around.loop.time() + self._around.limits.linger_seconds
        self._update_reading()

    def _next(self) -> None:
        if not self._keep_alive or self._owner.stopping:
            self._linger()
            return
        self._state = _HEAD
        self._head.shed()
        self.deadline = self._around.now + self._around.limits.idle_timeout_seconds
        if self._buffer:
            self.deadline = self._around.loop.time() + self._around.limits.header_timeout_seconds
            self._schedule_next()
        elif self._eof:
            self._close()
        if self._buffer or not self._reading:
            self._update_reading()

    def _schedule_next(self) -> None:
        self._around.loop.call_soon(self._read_next)  # not a call: a thousand pipelined refusals would nest as deeply

    def _read_next(self) -> None:
        if self._state == _HEAD and not self._write_paused:
            if self._buffer:
                self._read_head(self._buffer)
                if self._eof and self._state == _HEAD and self._exchange is None:
                    self._close()
            self._update_reading()

    def _linger(self) -> None:
        """End the connection in order: a close with unread bytes would reset it, and the client might lose the answer."""
        if self._state in (_LINGER, _CLOSED):
            return
        self._buffer = b""
        if self._eof or self.transport.is_closing():
            self._close()
            return
        self._state = _LINGER
        self._discarded = 0
        self._taken = acknowledged_bytes(self.transport)
        self.deadline = self._around.loop.time() + self._around.limits.linger_seconds
        if not self.transport.can_write_eof():
            self.transport.close()  # TLS sends what is left, says goodbye and then throws away what comes, as lingering does
            return
        self.transport.write_eof()
        self._request_held = False
        self._update_reading()

    def _stop_lingering(self) -> None:
        taken = acknowledged_bytes(self.transport)
        if taken > self._taken:  # a slow client is still taking its answer
            self._taken = taken
            self.deadline = self._around.loop.time() + self._around.limits.linger_seconds
        else:
            self.transport.abort()

    def _close(self) -> None:
        self._state = _CLOSED
        self.transport.close()

    def _abort(self) -> None:
        self._state = _CLOSED
        reset(self.transport)

    def _reject(self, page: Page) -> None:
        self.transport.write(page.encode(close=True))
        self._linger()

    # What the exchange does (`ClientSide`).

    def respond_interim(self, head: ResponseHead) -> None:
        """See `ClientSide`."""
        if self._head.minor == 1:
            self.transport.write(rewrite_response(head, connection=None))

    def respond(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        """See `ClientSide`."""
        self._response_begun = True
        if head.status == 101:
            self._switch(head, first)
            return
        minor = self._head.minor
        drop_framing = minor == 0 and head.chunked
        if open_ended or drop_framing or self._owner.stopping or self._body_may_stay_away():
            self._keep_alive = False
        if not self._keep_alive:
            connection: bytes | None = b"close"
        else:
            connection = None if minor == 1 else b"keep-alive"
        self.transport.write(rewrite_response(head, connection=connection, drop_framing=drop_framing) + first)

    def _body_may_stay_away(self) -> bool:
        # Whoever asked first and is answered at once may send the body all the same or not: nobody can tell what comes next.
        return self._body is not None and b"expect" in self._head.fields

    def _switch(self, head: ResponseHead, first: bytes) -> None:
        self._state = _TUNNEL
        self._body = None
        self.transport.write(rewrite_response(head, connection=b"Upgrade") + first)
        early, self._buffer = self._buffer, b""
        if early and self._exchange is not None:
            self._exchange.send_request(early)
        if self._eof and self._exchange is not None:
            self._exchange.client_ended()
        self._update_reading()

    def send(self, data: bytes) -> None:
        """See `ClientSide`."""
        self.transport.write(data)

    def trail(self, lines: list[bytes]) -> None:
        """See `ClientSide`; HTTP/1.0, for which alone framing is taken off, has no trailers."""

    def complete(self) -> None:
        """See `ClientSide`."""
        if self._state == _TUNNEL:
            self._exchange = None
            self._close()
        else:
            self._finished()

    def half_close(self) -> None:
        """See `ClientSide`."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        elif self._exchange is not None:
            self._exchange.client_ended()  # TLS ends both ways at once

    def refuse(self, page: Page) -> None:
        """See `ClientSide`."""
        head = self._head
        if head.minor == 0 or self._owner.stopping or self._body_may_stay_away():
            self._keep_alive = False
        self._response_begun = True
        self.transport.write(page.encode(close=not self._keep_alive, head_only=head.method == b"HEAD"))
        self._finished()

    def abort(self) -> None:
        """See `ClientSide`."""
        self._exchange = None
        self._abort()

    def pause_request(self) -> None:
        """See `ClientSide`."""
        self._request_held = True
        self._update_reading()

    def resume_request(self) -> None:
        """See `ClientSide`."""
        self._request_held = False
        self._update_reading()


def _without_empty_lines(data: bytes) -> bytes:
    """RFC 9112 §2.2: empty lines before a request are to be ignored. Cut off at once: line by line, each would copy all that follow."""
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    return data[start:]
