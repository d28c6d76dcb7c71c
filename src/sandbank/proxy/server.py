"""A proxy that listens: accepts clients, watches their deadlines, drains when it is stopped."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.client import ClientConnection
from sandbank.proxy.exchange import Surroundings
from sandbank.proxy.http2.connection import Http2Connection
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.listener import DualListener
from sandbank.proxy.local import LocalResolver
from sandbank.proxy.owner import Connection
from sandbank.proxy.resolver import Resolver
from sandbank.proxy.routes import RouteTable
from sandbank.servicekit.ports import listen

_SWEEP_SECONDS = 1.0
_BACKLOG = 4096

logger = structlog.get_logger(__name__)


class ProxyServer:
    """Serves one port; has the shape of a service (`start`, `wait`, `stop`).

    With `tls` the port takes HTTPS besides cleartext. It is called for each connection, so that renewed certificates need no restart; the
    contexts it returns should offer `h2` and `http/1.1` by ALPN.
    """

    def __init__(
        self,
        name: str,
        resolver: Resolver,
        *,
        host: str,
        port: int,
        limits: ProxyLimits | None = None,
        drain_seconds: float = 5.0,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.name = name
        self.stopping = False
        self._resolver = resolver
        self._host = host
        self._port = port
        self._limits = limits or ProxyLimits()
        self._drain_seconds = drain_seconds
        self._tasks = TaskGroup(name, self._task_failed)
        self._tls = tls
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._dual: DualListener | None = None
        self._bound = port
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is served: the one asked for, or the one the kernel chose for 0."""
        return self._bound

    @property
    def connection_count(self) -> int:
        """Clients that are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen; `UnavailableError` names a port that is taken and who has it."""
        loop = asyncio.get_running_loop()
        around = Surroundings(self._resolver, self._limits, self._tasks)
        listener = listen(self._host, self._port, self.name, backlog=_BACKLOG)
        self._bound = listener.getsockname()[1]
        if self._tls is None:
            self._server = await loop.create_server(lambda: ClientConnection(self, around), sock=listener, backlog=_BACKLOG)
        else:
            self._dual = DualListener(
                self.name,
                listener,
                tls=self._tls,
                choose=lambda alpn: Http2Connection(self, around) if alpn == "h2" else ClientConnection(self, around),
                has_room=self._has_room,
                limits=self._limits,
            )
        self._sweeper = self._tasks.start("sweep", self._sweep(around))

    async def wait(self) -> None:
        """Return when the server was stopped; raise what its root task raised."""
        if self._sweeper is not None:
            await asyncio.wait([self._sweeper])
            if not self._sweeper.cancelled() and (error := self._sweeper.exception()) is not None:
                raise error

    async def stop(self) -> None:
        """Accept no more, let requests under way end for `drain_seconds`, then cut them."""
        self.stopping = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        dual, self._dual = self._dual, None
        if dual is not None:
            await dual.close()
        for connection in tuple(self._connections):
            connection.drain()
        if self._connections:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), self._drain_seconds)
            except TimeoutError:
                logger.info("cutting connections", service=self.name, count=len(self._connections))
        for connection in tuple(self._connections):
            connection.abort()
        await self._tasks.close()
        if server is not None:
            await server.wait_closed()

    # What connections report.

    def opened(self, connection: Connection) -> bool:
        """See `ClientOwner`."""
        self._connections.add(connection)
        return len(self._connections) <= self._limits.max_connections

    def closed(self, connection: Connection) -> None:
        """See `ClientOwner`."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _has_room(self) -> bool:
        pending = self._dual.pending if self._dual is not None else 0
        return len(self._connections) + pending < self._limits.max_connections

    async def _sweep(self, around: Surroundings) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = around.now = loop.time()
            for connection in tuple(self._connections):
                if now > connection.deadline:
                    connection.expire()
            self._resolver.sweep(now)

    def _task_failed(self, task: str, error: BaseException) -> None:
        logger.error("task failed", service=self.name, task=task, exc_info=error)


def sandbox_proxy(routes: RouteTable, *, host: str, port: int, limits: ProxyLimits | None = None) -> ProxyServer:
    """The proxy of a node (5007): traffic to the sandboxes in `routes`."""
    return ProxyServer("sandbox-proxy", LocalResolver(routes, first_hop=False), host=host, port=port, limits=limits)
