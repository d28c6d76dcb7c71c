"""Names for sandboxes: a forwarder on the node between them and the node's own name servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import cast

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import UnavailableError
from sandbank.runtime.network.query import MalformedMessageError, failure, is_query, question_of
from sandbank.runtime.network.settings import NetworkSettings
from sandbank.runtime.network.upstreams import Server, Upstreams, ask_tcp, ask_udp

_log = structlog.get_logger()
_IDLE_SECONDS = 10.0
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_QUEUE_BYTES = 4 << 20  # of kernel memory: some 5,000 questions
_Ask = Callable[[Server, bytes], Awaitable[bytes]]


class Resolver:
    """Passes queries on unchanged but for the transaction id, over UDP and TCP each as it came, so that truncation works end to end.

    It listens on an address of the instance alone; the firewall lets only slots reach that, and only through the
    rewritten `resolver_address`. Who asks is told by the source address, which the firewall has checked.
    """

    def __init__(self, settings: NetworkSettings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._upstreams = Upstreams(settings.resolv_conf, settings.upstreams)
        self._outstanding: Counter[str] = Counter()
        self._tasks = TaskGroup("resolver", lambda name, error: _log.error("resolver task failed", task=name, error=repr(error)))
        self._datagrams: asyncio.DatagramTransport | None = None
        self._datagrams_closed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """`UnavailableError` when the port is taken."""
        loop = asyncio.get_running_loop()
        port = self._settings.resolver_port
        try:
            self._datagrams, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self, self._datagrams_closed), local_addr=(self._address, port)
            )
            _widen(self._datagrams)
            self._server = await asyncio.start_server(self._connected, self._address, port, limit=1 << 17)
        except OSError as error:
            await self.close()
            raise UnavailableError(f"the name forwarder cannot listen on {self._address}:{port}: {error.strerror}") from error

    async def close(self) -> None:
        """Stop answering; queries under way are dropped."""
        if self._datagrams is not None:
            self._datagrams.close()
            # The port is free only after the transport's last callback; the next service binds it again.
            await self._datagrams_closed.wait()
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    def received(self, transport: asyncio.DatagramTransport, data: bytes, client: tuple[str, int]) -> None:
        """A datagram came from a slot. Over a limit it is dropped, which its sender takes for loss and tries again."""
        if self._admits(client[0]) and is_query(data):
            self._outstanding[client[0]] += 1
            self._tasks.start("query", self._answer_datagram(transport, data, client))

    def _admits(self, slot: str) -> bool:
        return (
            self._outstanding[slot] < self._settings.resolver_slot_limit and self._outstanding.total() < self._settings.resolver_total_limit
        )

    def _done(self, slot: str) -> None:
        self._outstanding[slot] -= 1
        if self._outstanding[slot] <= 0:
            del self._outstanding[slot]

    async def _answer_datagram(self, transport: asyncio.DatagramTransport, query: bytes, client: tuple[str, int]) -> None:
        try:
            answer = await self._resolve(query, ask_udp)
            if answer is not None and not transport.is_closing():
                transport.sendto(answer, client)
        finally:
            self._done(client[0])

    async def _resolve(self, query: bytes, ask: _Ask) -> bytes | None:
        """The first upstream's answer, SERVFAIL when none answers, None for what is no query."""
        try:
            question_of(query)
        except MalformedMessageError:
            return None
        for server in list(self._upstreams.servers()):
            try:
                async with asyncio.timeout(self._settings.resolver_timeout_seconds):
                    return await ask(server, query)
            except (OSError, EOFError):
                continue
        return failure(query)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        if not self._admits(client):
            writer.close()
            return
        # A connection counts as one query from accept to close: each holds descriptors whether or not it asks.
        self._outstanding[client] += 1
        await asyncio.wait([self._tasks.start("connection", self._serve(reader, writer, client))])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    query = await reader.readexactly(length)
                answer = await self._resolve(query, ask_tcp) if is_query(query) else None
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                async with asyncio.timeout(_IDLE_SECONDS):
                    await writer.drain()
        except (OSError, EOFError):
            return
        finally:
            self._done(client)
            writer.close()


def _widen(transport: asyncio.DatagramTransport) -> None:
    """Let a burst of one slot fill less of the one queue than others need. Only root may go beyond the node's usual limit."""
    with contextlib.suppress(PermissionError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver, closed: asyncio.Event) -> None:
        self._resolver = resolver
        self._closed = closed
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is none by class before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._resolver.received(self._transport, data, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed.set()
