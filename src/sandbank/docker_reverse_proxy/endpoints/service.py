"""The service: its port, and, where it keeps images itself, the store and its collector."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.server import ProxyServer

Release = Callable[[], Awaitable[None]]


class Server(Protocol):
    """One port."""

    async def start(self) -> None: ...

    async def wait(self) -> None: ...

    async def stop(self) -> None: ...


class DockerReverseProxyService:
    """`store` and `collect` are there where no registry was named; `prepare` runs first and blocks, `release` last."""

    name = "docker-reverse-proxy"

    def __init__(
        self,
        traffic: ProxyServer,
        tasks: TaskGroup,
        release: Release,
        *,
        store: Server | None = None,
        prepare: Callable[[], None] | None = None,
        collect: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.traffic = traffic
        self._tasks = tasks
        self._release = release
        self._store = store
        self._prepare = prepare
        self._collect = collect

    async def start(self) -> None:
        """Serve; `UnavailableError` names a port that is taken."""
        if self._prepare is not None:
            await asyncio.to_thread(self._prepare)
        if self._store is not None:
            await self._store.start()
        if self._collect is not None:
            self._tasks.start("collector", self._collect())
        await self.traffic.start()

    async def wait(self) -> None:
        """Raise as soon as one of the ports is not served any more; return when all were stopped."""
        servers: list[Server] = [self.traffic, *([] if self._store is None else [self._store])]
        await asyncio.gather(*(server.wait() for server in servers))

    async def stop(self) -> None:
        """Let pushes under way end for a while, then cut them; the store goes after who sends to it."""
        await self.traffic.stop()
        if self._store is not None:
            await self._store.stop()
        await self._tasks.close()
        await self._release()
