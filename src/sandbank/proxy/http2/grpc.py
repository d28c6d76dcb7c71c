"""gRPC: a call goes to its origin over HTTP/2 as well, because it is answered in trailers and both sides talk at once."""

from __future__ import annotations

from sandbank.proxy.dial import connect
from sandbank.proxy.exchange import Exchange
from sandbank.proxy.head import RequestHead
from sandbank.proxy.http2.translation import request_headers
from sandbank.proxy.http2.upstream import Http2Upstream
from sandbank.proxy.origin import Origin
from sandbank.proxy.resolver import Forward
from sandbank.proxy.rewrite import rewrite_request
from sandbank.proxy.upstream import UpstreamConnection


def is_grpc(head: RequestHead) -> bool:
    """Whether this is a gRPC call; gRPC-Web is not, it speaks whatever HTTP its server does."""
    media_type = head.fields.get(b"content-type", b"").lower()
    return media_type[:16] == b"application/grpc" and media_type[16:17] in (b"", b"+", b";")


class GrpcExchange(Exchange):
    """One call, on a connection of its own."""

    __slots__ = ()

    async def _open(self, origin: Origin) -> UpstreamConnection:
        return await connect(origin, self._around.limits.dial_timeout_seconds, Http2Upstream)

    def _send_to(self, forward: Forward) -> None:
        self._forward = forward
        forward.origin.count()
        self._dial(forward)

    def _bind(self, upstream: UpstreamConnection, forward: Forward) -> None:
        if not isinstance(upstream, Http2Upstream):
            raise TypeError(upstream)
        head = self._head
        self._upstream = upstream
        upstream.begin(self, head_only=False, upgrade=False, payload_only=True)
        outgoing = rewrite_request(head, host=forward.host, forwarded_host=forward.forwarded_host, keep_alive=True)
        upstream.ask(request_headers(head, outgoing))
        pending, self._pending = self._pending, None
        if pending is not None:
            self._pending_bytes = 0
            self._client.resume_request()  # before sending, which may hold it again
            upstream.send(b"".join(pending))
        if self._request_done:
            upstream.end()

    def end_request(self) -> None:
        """See `Exchange`."""
        super().end_request()
        if isinstance(self._upstream, Http2Upstream):
            self._upstream.end()
