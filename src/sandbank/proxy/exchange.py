"""One request and its answer, between a client's side and an origin.

The client's side is a protocol, so that an HTTP/2 stream can stand where an HTTP/1.1 connection stands today.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.dial import OriginClosedError, connect
from sandbank.proxy.head import RequestHead, ResponseHead
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.origin import IDEMPOTENT, Origin
from sandbank.proxy.page import Page, plain
from sandbank.proxy.resolver import Decision, Forward, Resolver
from sandbank.proxy.rewrite import rewrite_request
from sandbank.proxy.upstream import UpstreamConnection


class ClientSide(Protocol):
    """Where an answer goes. Exactly one of `complete`, `refuse` and `abort` ends an exchange."""

    def respond_interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx answer."""
        ...

    def respond(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        """Begin the answer with its head and the `first` bytes of its body."""
        ...

    def send(self, data: bytes) -> None:
        """Send bytes of the body."""
        ...

    def trail(self, lines: list[bytes]) -> None:
        """Header lines after the body, which was asked for without its framing; `complete` follows."""
        ...

    def complete(self) -> None:
        """The answer has ended in order."""
        ...

    def half_close(self) -> None:
        """Nothing more comes out of the tunnel."""
        ...

    def refuse(self, page: Page) -> None:
        """There is no answer from an origin: send this one."""
        ...

    def abort(self) -> None:
        """The answer broke off: let nobody mistake it for a complete one."""
        ...

    def pause_request(self) -> None:
        """Take no more of the request from the client for now."""
        ...

    def resume_request(self) -> None:
        """Go on."""
        ...


class Surroundings:
    """What all exchanges of a server share."""

    __slots__ = ("limits", "loop", "now", "resolver", "tasks")

    def __init__(self, resolver: Resolver, limits: ProxyLimits, tasks: TaskGroup) -> None:
        self.resolver = resolver
        self.limits = limits
        self.tasks = tasks
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()  # up to a second old: enough for idle times, and free


class Exchange:
    """Finds the origin of one request, sends it there, and brings the answer back; `payload_only` without its chunked framing."""

    __slots__ = (
        "_around",
        "_asked_again",
        "_client",
        "_client_ended",
        "_forward",
        "_has_body",
        "_head",
        "_origin_ended",
        "_payload_only",
        "_pending",
        "_pending_bytes",
        "_replayable",
        "_request_done",
        "_responded",
        "_task",
        "_upstream",
    )

    def __init__(self, around: Surroundings, client: ClientSide, head: RequestHead, *, has_body: bool, payload_only: bool = False) -> None:
        self._around = around
        self._client = client
        self._head = head
        self._has_body = has_body
        self._payload_only = payload_only or head.minor == 0
        self._request_done = not has_body
        self._client_ended = False
        self._origin_ended = False
        self._forward: Forward | None = None
        self._upstream: UpstreamConnection | None = None
        self._pending: list[bytes] | None = None
        self._pending_bytes = 0
        self._replayable = False
        self._asked_again = False
        self._responded = False
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Resolve, connect, send."""
        decision = self._around.resolver.resolve(self._head)
        if isinstance(decision, Forward):
            self._send_to(decision)
        elif isinstance(decision, Page):
            self._client.refuse(decision)
        else:
            task = self._task = self._around.tasks.start("resolve", decision)
            task.add_done_callback(self._resolved)

    # The client's side.

    def send_request(self, data: bytes) -> None:
        """Bytes of the request's body in its own framing, or of the tunnel."""
        if self._upstream is not None:
            self._upstream.send(data)
            return
        if self._pending is None:
            self._pending = []
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > self._around.limits.buffer_bytes:
            self._client.pause_request()

    def end_request(self) -> None:
        """The request's body is complete."""
        self._request_done = True

    def client_ended(self) -> None:
        """The client sends nothing more, but reads: let the origin see the same."""
        self._client_ended = True
        if self._origin_ended:
            self._end_tunnel()
        elif self._upstream is not None:
            self._upstream.half_close()

    def pause_response(self) -> None:
        """The client does not read as fast as it is sent to."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume_response(self) -> None:
        """The client reads again."""
        if self._upstream is not None:
            self._upstream.resume()

    def cancel(self) -> None:
        """The client is gone, or nobody wants the rest: let the origin see a cut."""
        upstream = self._release()
        if upstream is not None:
            upstream.cut()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._forward is not None:
            self._forward.origin.waiting.discard(self)  # a task that is cancelled before its first step does not do so itself

    # Towards the origin.

    def _resolved(self, task: asyncio.Task[Decision]) -> None:
        if self._task is not task or task.cancelled():
            return  # the client is gone
        self._task = None
        if task.exception() is not None:  # our own fault: the group reports it, but the client must not wait for ever
            self._client.refuse(plain(502, "Failed to route request to sandbox"))
        elif isinstance(result := task.result(), Page):
            self._client.refuse(result)
        else:
            self._send_to(result)

    def _send_to(self, forward: Forward) -> None:
        self._forward = forward
        origin = forward.origin
        origin.count()
        if origin.may_reuse(self._head.method, has_body=self._has_body) and (upstream := origin.take()) is not None:
            self._replayable = not self._has_body and self._head.method in IDEMPOTENT
            self._bind(upstream, forward)
        else:
            self._dial(forward)

    def _dial(self, forward: Forward) -> None:
        forward.origin.waiting.add(self)
        self._task = self._around.tasks.start("dial", self._connect(forward))

    async def _connect(self, forward: Forward) -> None:
        resolver = self._around.resolver
        try:
            upstream = await self._open(forward.origin)
        except OriginClosedError:
            self._task = None
            self._ask_again(forward)
        except OSError:
            self._task = None
            self._client.refuse(resolver.unreachable(self._head, forward))
        except Exception:
            self._task = None
            self._client.refuse(resolver.unreachable(self._head, forward))
            raise  # our own fault: the group reports it, but the client must not wait for ever
        else:
            self._task = None
            self._bind(upstream, forward)
        finally:
            forward.origin.waiting.discard(self)

    async def _open(self, origin: Origin) -> UpstreamConnection:
        return await connect(origin, self._around.limits.dial_timeout_seconds, UpstreamConnection)

    def origin_closed(self) -> None:
        """The sandbox was removed while this request waited for a connection to it."""
        task, self._task = self._task, None
        if task is not None and self._forward is not None:
            task.cancel()
            self._ask_again(self._forward)

    def _ask_again(self, forward: Forward) -> None:
        """Nothing inside has seen the request, or it may be seen twice: whether the sandbox was paused, and is to be woken, or killed."""
        if self._asked_again:
            self._client.refuse(self._around.resolver.gone(self._head, forward))
            return
        self._asked_again = True
        forward.origin.waiting.discard(self)
        self._forward = None
        self.start()

    def _bind(self, upstream: UpstreamConnection, forward: Forward) -> None:
        head = self._head
        self._upstream = upstream
        upstream.begin(self, head_only=head.method == b"HEAD", upgrade=head.upgrade is not None, payload_only=self._payload_only)
        keep_alive = forward.origin.keep_alive
        outgoing = rewrite_request(
            head, host=forward.host, forwarded_host=forward.forwarded_host, keep_alive=keep_alive, edits=forward.edits
        )
        if self._pending is not None:
            outgoing += b"".join(self._pending)
            self._pending = None
            self._pending_bytes = 0
            self._client.resume_request()  # before sending, which may hold it again
        upstream.send(outgoing)
        if self._client_ended:
            upstream.half_close()

    def _end_tunnel(self) -> None:
        upstream = self._release()
        if upstream is not None:
            upstream.close()
        self._client.complete()

    def _release(self) -> UpstreamConnection | None:
        upstream, self._upstream = self._upstream, None
        return upstream

    # What the origin's connection reports.

    def on_interim(self, head: ResponseHead) -> None:
        """See `ResponseSink`."""
        self._client.respond_interim(head)

    def on_head(self, head: ResponseHead, first: bytes, *, open_ended: bool) -> None:
        """See `ResponseSink`."""
        self._responded = True
        if self._forward is not None and self._forward.edits is not None:
            head = self._forward.edits.respond(head)
        self._client.respond(head, first, open_ended=open_ended)
        self._head.shed()

    def on_body(self, data: bytes) -> None:
        """See `ResponseSink`."""
        self._client.send(data)

    def on_trailers(self, lines: list[bytes]) -> None:
        """See `ResponseSink`."""
        self._client.trail(lines)

    def on_complete(self, *, reusable: bool) -> None:
        """See `ResponseSink`."""
        upstream = self._release()
        if upstream is not None and self._forward is not None:
            if reusable and self._request_done and not self._client_ended:
                upstream.resume()  # the client may have been slow; the next one is not
                self._forward.origin.offer(upstream, self._around.now)
            else:
                upstream.close()
        self._client.complete()

    def on_half_close(self) -> None:
        """See `ResponseSink`."""
        self._origin_ended = True
        if self._client_ended:
            self._end_tunnel()
        else:
            self._client.half_close()

    def on_lost(self) -> None:
        """See `ResponseSink`."""
        self._release()
        forward = self._forward
        if forward is None or self._responded:
            self._client.abort()
        elif forward.origin.closed:
            if not self._has_body and self._head.method in IDEMPOTENT:
                self._ask_again(forward)
            else:
                self._client.refuse(self._around.resolver.gone(self._head, forward))
        elif self._replayable:
            self._replayable = False
            self._dial(forward)
        else:
            self._client.refuse(self._around.resolver.unreachable(self._head, forward))

    def pause_request(self) -> None:
        """See `ResponseSink`."""
        self._client.pause_request()

    def resume_request(self) -> None:
        """See `ResponseSink`."""
        self._client.resume_request()
