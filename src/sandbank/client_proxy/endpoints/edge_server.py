"""Port 3001: one port for REST and for gRPC, told apart by a connection's first bytes (contract data-plane §8.3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish
from sandbank.client_proxy.endpoints.edge_connection import HEAD_SECONDS, LINGER_SECONDS, EdgeConnection, Respond
from sandbank.client_proxy.endpoints.edge_message import problem
from sandbank.servicekit.ports import listen

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4
_PIECE_BYTES = 16 * 1024
_MAX_CONNECTIONS = 256  # operators and machines that ask, not traffic; the event loop may hold a quarter of a MiB for each
_BACKLOG = 256
_GRACE_SECONDS = 2.0

logger = structlog.get_logger(__name__)


class Streams(Protocol):
    """What speaks HTTP/2 behind this port."""

    async def start(self) -> None: ...

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...

    async def stop(self, grace_seconds: float) -> None: ...


class Agent(Protocol):
    """A loop that runs as long as the server does."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class EdgeServer:
    """Serves one port; has the shape of a service (`start`, `wait`, `stop`). `release` runs last."""

    name = "edge API"

    def __init__(
        self,
        respond: Respond,
        streams: Streams,
        agents: Sequence[Agent],
        *,
        host: str,
        port: int,
        release: Callable[[], Awaitable[None]],
        max_connections: int = _MAX_CONNECTIONS,
    ) -> None:
        self._respond = respond
        self._streams = streams
        self._agents = agents
        self._host = host
        self._port = port
        self._release = release
        self._max_connections = max_connections
        self._connections = TaskGroup(self.name, _log_failure)
        self._loops = TaskGroup(self.name, _log_failure)
        self._roots: list[asyncio.Task[Any]] = []
        self._open = 0
        self._requests: dict[EdgeConnection, asyncio.Task[Any]] = {}
        self._silent: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._bound = port

    @property
    def port(self) -> int:
        """The port that is served: the one asked for, or the one the kernel chose for 0."""
        return self._bound

    async def start(self) -> None:
        """Listen; `UnavailableError` names a port that is taken and who has it."""
        listener = listen(self._host, self._port, self.name, backlog=_BACKLOG)
        self._bound = listener.getsockname()[1]
        try:
            await self._streams.start()
        except BaseException:
            listener.close()
            raise
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_PIECE_BYTES, backlog=_BACKLOG)
        self._roots = [self._loops.start(agent.name, agent.run()) for agent in self._agents]

    async def wait(self) -> None:
        """Return when the server was stopped; raise what one of its loops raised."""
        if self._roots:
            done, _ = await asyncio.wait(self._roots, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    async def stop(self) -> None:
        """Accept no more, let requests and calls under way end for two seconds, then cut them. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection, task in tuple(self._requests.items()):
            connection.stopping = True
            if connection.idle:
                task.cancel()
        for task in tuple(self._silent):
            task.cancel()
        try:
            await self._streams.stop(_GRACE_SECONDS)
            await self._connections.drain(_GRACE_SECONDS)
        finally:
            await finish(self._let_go(server))

    async def _let_go(self, server: asyncio.Server | None) -> None:
        await self._connections.close()
        await self._loops.close()
        await self._release()
        if server is not None:
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or self._open >= self._max_connections:
            writer.write(problem(503, "too many connections").encode(close=True))
            writer.close()
            return
        self._open += 1
        self._connections.start("connection", self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            self._silent.add(task)
            try:
                first = await _first_bytes(reader)
            finally:
                self._silent.discard(task)
            if first.startswith(_PREFACE):
                await self._relay(reader, writer, first)
            elif first:
                connection = EdgeConnection(reader, writer, self._respond, first)
                self._requests[connection] = task
                try:
                    await connection.serve()
                finally:
                    del self._requests[connection]
            writer.close()
            async with asyncio.timeout(LINGER_SECONDS):
                await writer.wait_closed()
        except OSError as error:  # the client went away, or takes too long to take the rest
            logger.debug("connection ended", service=self.name, reason=str(error))
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        inner_reader, inner_writer = await self._streams.connect()
        try:
            inner_writer.write(first)
            there = self._connections.start("there", _pump(reader, inner_writer))
            try:
                await _pump(inner_reader, writer)
            finally:
                there.cancel()
                await asyncio.wait([there])
        finally:
            inner_writer.transport.abort()


async def _first_bytes(reader: asyncio.StreamReader) -> bytes:
    """As many as it takes to know what the client speaks; empty when it says too little for too long."""
    first = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEAD_SECONDS):
            while len(first) < len(_PREFACE) and _PREFACE.startswith(first):
                data = await reader.read(_PIECE_BYTES)
                if not data:
                    break
                first += data
            return first
    return b""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its sender ends; a receiver that is slow holds it up."""
    try:
        while data := await reader.read(_PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError as error:
        logger.debug("relaying ended", service=EdgeServer.name, reason=str(error))
    with contextlib.suppress(OSError):
        writer.write_eof()


def _log_failure(task: str, error: BaseException) -> None:
    logger.error("task failed", service=EdgeServer.name, task=task, exc_info=error)
