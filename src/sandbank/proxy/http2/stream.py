"""One request of an HTTP/2 connection: the client's side of an exchange."""

from __future__ import annotations

import math
from typing import Protocol

from h2.errors import ErrorCodes

from sandbank.proxy.exchange import Exchange
from sandbank.proxy.head import RequestHead, ResponseHead
from sandbank.proxy.http2.engine import Engine
from sandbank.proxy.http2.outbox import Outbox
from sandbank.proxy.http2.translation import Header, MalformedError, header_list, page_headers, response_headers, trailer_lines
from sandbank.proxy.page import Page

# Of an answer: what may wait for its turn to be sent, and what may be left of it after that, before its origin is paused.
_QUEUE_BYTES = 256 * 1024
_LEFT_BYTES = 64 * 1024


class StreamOwner(Protocol):
    """The connection of a stream."""

    engine: Engine

    def reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        """Tell the client that the stream has broken off; it is forgotten."""
        ...

    def now(self) -> float:
        """The loop's time."""
        ...

    def interim(self, stream: Http2Stream, headers: list[Header]) -> None:
        """Send the head of a 1xx answer, unless the client reads too slowly for what can be left out."""
        ...

    def wake(self, stream: Http2Stream) -> None:
        """The stream has something to send."""
        ...

    def forget(self, stream: Http2Stream) -> None:
        """Both sides have ended, or the stream was reset."""
        ...


class Http2Stream:
    """A request on its way in and its answer on its way out. `raw` when the origin is asked in HTTP/2 too: bodies then have no framing."""

    __slots__ = (
        "_body_left",
        "_chunked",
        "_connect",
        "_early",
        "_exchange",
        "_head_only",
        "_held_bytes",
        "_owner",
        "_paused_response",
        "_request_done",
        "_request_held",
        "_tunnel",
        "_upgrading",
        "ended_at",
        "outbox",
        "stream_id",
    )

    def __init__(self, owner: StreamOwner, stream_id: int, head: RequestHead, *, ended: bool, raw: bool) -> None:
        self._owner = owner
        self._exchange: Exchange | None = None
        self._head_only = head.method == b"HEAD"
        self._chunked = head.chunked and not raw
        self._connect = self._upgrading = head.upgrade is not None
        self._tunnel = False
        self._early: list[tuple[bytes, int]] = []  # of a tunnel that is not open yet
        self._body_left = None if head.chunked or self._upgrading else head.content_length
        self._request_done = ended
        self._request_held = False
        self._held_bytes = 0
        self._paused_response = False
        self.ended_at = math.inf  # when the answer was complete, while the request is not: its rest is thrown away
        self.stream_id = stream_id
        self.outbox = Outbox(owner.engine, stream_id)

    def begin(self, exchange: Exchange) -> None:
        """Start the exchange whose client this is."""
        self._exchange = exchange
        exchange.start()

    # What the client sends.

    def receive(self, data: bytes, window_bytes: int) -> None:
        """A piece of the body, which took this much of the windows."""
        if self._body_left is not None:
            self._body_left -= len(data)
            if self._body_left < 0:
                self._owner.engine.acknowledge_received_data(window_bytes, self.stream_id)
                self.fail(ErrorCodes.PROTOCOL_ERROR)
                return
        exchange = self._exchange
        if self._upgrading and data:
            self._early.append((data, window_bytes))
            return
        if exchange is not None and data and self._connect is self._tunnel:
            exchange.send_request(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._request_held:
            self._held_bytes += window_bytes
        else:
            self._acknowledge(window_bytes)

    def stop_upload(self) -> None:
        """The answer is complete and the client still sends: RFC 9113 §8.1 has this for it. Not at once, as some take it for a failure."""
        self._request_done = True
        self._owner.reset(self, ErrorCodes.NO_ERROR)

    def receive_end(self, trailers: list[Header] | None = None) -> None:
        """The request is complete."""
        if self._request_done:
            return
        self._request_done = True
        exchange = self._exchange
        if self._body_left or (trailers and self._tunnel):
            self.fail(ErrorCodes.PROTOCOL_ERROR)
        elif exchange is not None:
            try:
                lines = trailer_lines(trailers or ())
            except MalformedError:
                self.fail(ErrorCodes.PROTOCOL_ERROR)
                return
            if self._tunnel:
                exchange.client_ended()
            elif not self._upgrading:
                if self._chunked:
                    exchange.send_request(b"".join([b"0\r\n", *(line + b"\r\n" for line in lines), b"\r\n"]))
                exchange.end_request()
        if self.outbox.ended:
            self._owner.forget(self)

    def receive_reset(self) -> None:
        """The client has given the request up, or its connection is gone."""
        self._give_back()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def _acknowledge(self, window_bytes: int) -> None:
        if window_bytes:
            self._owner.engine.acknowledge_received_data(window_bytes, self.stream_id)
            self._owner.wake(self)

    def _give_back(self) -> None:
        for _, window_bytes in self._early:
            self._held_bytes += window_bytes
        self._early = []
        held, self._held_bytes = self._held_bytes, 0
        self._acknowledge(held)

    # What goes back to it.

    def flush(self) -> None:
        """Send what the windows allow."""
        outbox = self.outbox
        if not outbox.waiting:
            return
        outbox.flush()
        if outbox.ended and self._exchange is None:
            if self._request_done:
                self._owner.forget(self)
            else:
                self.ended_at = self._owner.now()
        elif outbox.size > _LEFT_BYTES:
            self._pause_response()
        elif self._paused_response and not outbox.size and self._exchange is not None:
            self._paused_response = False
            self._exchange.resume_response()

    def _pause_response(self) -> None:
        if not self._paused_response and self._exchange is not None:
            self._paused_response = True
            self._exchange.pause_response()

    def fail(self, code: ErrorCodes) -> None:
        """Reset the stream, and let the origin see a cut."""
        self.receive_reset()
        self._owner.reset(self, code)

    def respond_interim(self, head: ResponseHead) -> None:
        """See `ClientSide`."""
        self._owner.interim(self, response_headers(head))

    def respond(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        """See `ClientSide`."""
        upgrading, self._upgrading = self._upgrading, False
        if head.status == 101:
            if not upgrading:
                self.abort()
                return
            self._open_tunnel(head)
        else:
            self.outbox.begin(response_headers(head))
            self._owner.wake(self)
        self.send(first)

    def _open_tunnel(self, head: ResponseHead) -> None:
        self._tunnel = True
        kept = frozenset({b"sec-websocket-protocol", b"sec-websocket-extensions"})
        chosen = [field for field in header_list(head.lines) if field[0] in kept]
        self.outbox.begin([(b":status", b"200"), *chosen])
        self._owner.wake(self)
        early, self._early = self._early, []
        for data, window_bytes in early:
            self.receive(data, window_bytes)
        if self._request_done and self._exchange is not None:
            self._exchange.client_ended()

    def send(self, data: bytes) -> None:
        """See `ClientSide`."""
        if not data:
            return
        self.outbox.write(data)
        if self.outbox.size > _QUEUE_BYTES:
            self._pause_response()
        self._owner.wake(self)

    def trail(self, lines: list[bytes]) -> None:
        """See `ClientSide`."""
        self.outbox.trail(header_list(lines))

    def complete(self) -> None:
        """See `ClientSide`."""
        self._exchange = None
        self._request_held = False
        self._give_back()
        self.outbox.end()
        self._owner.wake(self)

    def half_close(self) -> None:
        """See `ClientSide`."""
        self.outbox.end()
        self._owner.wake(self)

    def refuse(self, page: Page) -> None:
        """See `ClientSide`."""
        self._upgrading = False
        self.outbox.begin(page_headers(page))
        if not self._head_only:
            self.outbox.write(page.body)
        self.complete()

    def abort(self) -> None:
        """See `ClientSide`."""
        self._exchange = None
        self.fail(ErrorCodes.INTERNAL_ERROR)

    def pause_request(self) -> None:
        """See `ClientSide`."""
        self._request_held = True

    def resume_request(self) -> None:
        """See `ClientSide`."""
        self._request_held = False
        held, self._held_bytes = self._held_bytes, 0
        self._acknowledge(held)
