"""The service: its ports, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from sandbank.client_proxy.core.readiness import Readiness
from sandbank.proxy.server import ProxyServer

Release = Callable[[], Awaitable[None]]


class Server(Protocol):
    """One port."""

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def wait(self) -> None: ...

    async def stop(self) -> None: ...


class ClientProxyService:
    """Traffic, health and edge ports as one service. `traffic` is the server that sandboxes are reached through; `release` runs last."""

    name = "client-proxy"

    def __init__(self, traffic: ProxyServer, others: tuple[Server, ...], readiness: Readiness, release: Release | None = None) -> None:
        self.traffic = traffic
        self._others = others
        self._readiness = readiness
        self._release = release

    async def start(self) -> None:
        """Serve; `UnavailableError` names a port that is taken."""
        for server in (*self._others, self.traffic):
            await server.start()
        self._readiness.ready = True

    async def wait(self) -> None:
        """Raise as soon as one of the ports is not served any more; return when all were stopped."""
        await asyncio.gather(*(server.wait() for server in (*self._others, self.traffic)))

    async def stop(self) -> None:
        """Unhealthy first, so that balancers turn away; then drain the traffic; the health port goes last."""
        self._readiness.ready = False
        self._readiness.stopping = True
        await self.traffic.stop()
        self._readiness.terminating = True
        for server in self._others:
            await server.stop()
        if self._release is not None:
            await self._release()
