"""One client's connection: uvicorn's protocol with the bounds that it lacks, on time and on bytes (REST contract §1)."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sandbank.api.endpoints.http.boundary import seconds_for

HEAD_SECONDS = 5.0
# From the end of a head until the request is read and its answer taken.
EXCHANGE_SECONDS = 75.0
# Of a head, of the trailers, of what stands between the chunks of a body. A head of this size is nobody's.
FRAMING_BYTES = 64 * 1024
# Requests that wait for the answer to an earlier one. No client of ours sends any.
MOST_PIPELINED = 64
# Beyond, an idle connection makes room for a new one. Each costs some 10 KiB.
MOST_CONNECTIONS = 8192

# One line for each bad request would let strangers fill the disk.
_quiet = logging.getLogger("sandbank.api.connection")
_quiet.setLevel(logging.ERROR)


class Connection(HttpToolsProtocol):
    """Whoever serves it asks `is_overdue` now and then, and aborts what is: a timer per connection would cost every request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = _quiet
        self._deadline = math.inf
        self._is_between_requests = True
        self._has_progressed = False
        self._framing_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether the last request is read and its answer taken."""
        return self._is_between_requests and self._is_answered

    @property
    def _is_answered(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and self.transport.get_write_buffer_size() == 0

    def is_overdue(self, now: float) -> bool:
        """Whether it has kept us waiting for too long; `now` by the loop's clock. An idle one is left to the keep-alive timer."""
        if self.transport.is_closing() and self._deadline == math.inf:
            self._deadline = now + HEAD_SECONDS  # for what is still to be taken
        if now < self._deadline:
            return False
        if self.is_idle and self.cycle is not None:
            self._deadline = math.inf
            return False
        return True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEAD_SECONDS
        if len(self.connections) > MOST_CONNECTIONS:
            others = (other for other in self.connections if isinstance(other, Connection) and other is not self and other.is_idle)
            next(others, self).transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests:
            self._is_between_requests = False
            soon = self.loop.time() + HEAD_SECONDS
            # An answer that is still being worked on keeps its time, whatever a client sends meanwhile.
            self._deadline = soon if self._is_answered else max(soon, self._deadline)
        self._has_progressed = False
        super().data_received(data)
        if self._has_progressed:
            self._framing_bytes = 0
            return
        self._framing_bytes += len(data)
        if self._framing_bytes > FRAMING_BYTES:
            self._refuse(431, "request header fields are too large")

    def on_headers_complete(self) -> None:
        self._has_progressed = True
        super().on_headers_complete()
        self._deadline = self.loop.time() + seconds_for(self.url.decode("ascii", "replace"), EXCHANGE_SECONDS)
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.abort()
        if self.parser.should_upgrade():
            # To nothing that we speak. The answer is an ordinary one; what follows could not be told from the other protocol.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_progressed = True
        self._is_between_requests = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid HTTP request")

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # amid an answer there is no place for another
            return
        body = json.dumps({"code": status, "message": message}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
