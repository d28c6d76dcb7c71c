"""The service: its ports, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sandbank.proxy.server import ProxyServer

Release = Callable[[], Awaitable[None]]


class Readiness:
    """Whether this proxy wants traffic."""

    def __init__(self) -> None:
        self.ready = False

    def __call__(self) -> bool:
        return self.ready


class ClientProxyService:
    """Traffic, health and edge ports as one service. `traffic` is the server that sandboxes are reached through; `release` runs last."""

    name = "client-proxy"

    def __init__(self, traffic: ProxyServer, others: tuple[ProxyServer, ...], readiness: Readiness, release: Release | None = None) -> None:
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
        for server in (self.traffic, *self._others):
            await server.stop()
        if self._release is not None:
            await self._release()
