"""An HTTP/2 client that does what a test tells it, also what none should do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from tests.integration.proxy.wire import SANDBOX

Headers = Sequence[tuple[str, str]]


def request(port: int, path: str = "/", *, method: str = "GET", extra: Headers = (), sandbox_id: str = SANDBOX) -> list[tuple[str, str]]:
    """A request's headers for a sandbox's port."""
    authority = f"{port}-{sandbox_id}.localhost"
    return [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *extra]


@dataclass
class Reply:
    """What has come on a stream."""

    interim: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    frames: list[int] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The final status."""
        return int(self.headers[":status"])


class Http2Client:
    """A connection and its streams; `changed` is set whenever something came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, window: int) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=True,
            )
        )
        self.window = window
        self.replies: dict[int, Reply] = {}
        self.hold = False  # give no window back
        self.terminated: int | None = None
        self.closed = False
        self.pongs = 0
        self.changed = asyncio.Condition()

    async def flush(self) -> None:
        """Send what the library has to say."""
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def begin(self) -> None:
        """Preface and settings."""
        self.h2.initiate_connection()
        if self.window != 65535:
            self.h2.update_settings({4: self.window})
        await self.flush()

    async def ask(self, headers: Headers, body: bytes | None = None, *, end: bool = True, trailers: Headers = ()) -> int:
        """Begin a request; the number of its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.replies[stream_id] = Reply()
        self.h2.send_headers(stream_id, list(headers), end_stream=end and body is None and not trailers)
        if body is not None:
            await self.send(stream_id, body, end=end and not trailers)
        if trailers:
            self.h2.send_headers(stream_id, list(trailers), end_stream=True)
        await self.flush()
        return stream_id

    async def send(self, stream_id: int, body: bytes, *, end: bool = False) -> None:
        """A piece of a body, as the windows allow."""
        while body:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if room <= 0:
                await self.flush()
                async with self.changed:
                    await self.changed.wait()
                continue
            self.h2.send_data(stream_id, body[:room], end_stream=end and len(body) <= room)
            body = body[room:]
            if len(body) <= 0 and end:
                await self.flush()
                return
        if end:
            self.h2.end_stream(stream_id)
        await self.flush()

    async def until(self, stream_id: int, what: str = "ended") -> Reply:
        """Wait until the stream has ended, been reset, or has what is asked for."""
        reply = self.replies[stream_id]
        async with asyncio.timeout(20), self.changed:
            while not (reply.ended or reply.reset is not None or self.closed or getattr(reply, what)):
                await self.changed.wait()
        return reply

    async def get(self, headers: Headers, body: bytes | None = None, *, trailers: Headers = ()) -> Reply:
        """One whole exchange."""
        return await self.until(await self.ask(headers, body, trailers=trailers))

    async def until_closed(self) -> int | None:
        """Wait for the connection's end; the error code of its GOAWAY."""
        async with asyncio.timeout(20), self.changed:
            while not self.closed:
                await self.changed.wait()
        return self.terminated

    async def listen(self) -> None:
        """Read until the connection ends."""
        try:
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self._note(event)
                await self.flush()
                async with self.changed:
                    self.changed.notify_all()
        except OSError:
            pass
        finally:
            self.closed = True
            async with self.changed:
                self.changed.notify_all()

    def _note(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.terminated = int(event.error_code or 0)
            if not self.terminated:
                self.h2.state_machine.state = ConnectionState.CLIENT_OPEN  # the library would not hear the answers that are still to come
            return
        if isinstance(event, PingAckReceived):
            self.pongs += 1
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0)
        if reply is None:
            return
        if isinstance(event, InformationalResponseReceived):
            reply.interim.append(int({str(name): value for name, value in event.headers}[":status"]))
        elif isinstance(event, ResponseReceived):
            reply.headers = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, TrailersReceived):
            reply.trailers = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, DataReceived):
            assert event.data is not None
            reply.frames.append(len(event.data))
            if not event.data and event.stream_ended is None:
                raise AssertionError("an empty DATA frame in the middle")
            reply.body += event.data
            if not self.hold and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            reply.ended = True
        elif isinstance(event, StreamReset):
            reply.reset = int(ErrorCodes(event.error_code))


@asynccontextmanager
async def http2_client(
    port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None, window: int = 65535
) -> AsyncIterator[Http2Client]:
    """A connection to a proxy on loopback, by prior knowledge or with `tls` by ALPN."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    client = Http2Client(reader, writer, window=window)
    await client.begin()
    listening = asyncio.ensure_future(client.listen())
    try:
        yield client
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.transport.abort()
