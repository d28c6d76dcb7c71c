"""The API as a service: its root tasks, started in order and stopped in reverse."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from sandbank.aiokit.tasks import TaskGroup
from sandbank.aiokit.teardown import TeardownStack

_STOP_SECONDS = 15.0


class Server(Protocol):
    """What answers requests."""

    def bind(self) -> socket.socket: ...

    async def run(self, listener: socket.socket, serving: asyncio.Event) -> None: ...

    def stop(self) -> None: ...


class Agent(Protocol):
    """A loop that runs as long as the service does."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class ApiService:
    """Implements `sandbank.servicekit.service.Service`.

    `prepare` runs before the first request is answered: schema, seed checks, records from the nodes. `release` runs last.
    """

    name = "api"

    def __init__(
        self,
        server: Server,
        agents: Sequence[Agent],
        prepare: Callable[[], Awaitable[None]],
        release: Callable[[], Awaitable[None]],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._server = server
        self._agents = agents
        self._prepare = prepare
        self._release = release
        self._tasks = TaskGroup("api", on_error)
        self._roots: list[asyncio.Task[Any]] = []
        self._serving_task: asyncio.Task[None] | None = None
        self._teardown = TeardownStack("api")

    async def start(self) -> None:
        """See `Service.start`: a taken port, a database that is newer than we are, credentials that must not be exposed."""
        self._teardown.push("release", self._release)
        listener = self._server.bind()
        self._teardown.push("listener", listener.close)
        await self._prepare()
        serving = asyncio.Event()
        self._teardown.push("agents", self._tasks.close)
        for agent in self._agents:
            self._roots.append(self._tasks.start(agent.name, agent.run()))
        self._serving_task = self._tasks.start("http", self._server.run(listener, serving))
        self._roots.append(self._serving_task)
        self._teardown.push("http", self._drain, _STOP_SECONDS)
        ready = self._tasks.start("ready", serving.wait())
        await asyncio.wait((ready, self._serving_task), return_when=asyncio.FIRST_COMPLETED)
        if self._serving_task.done():
            self._serving_task.result()

    async def wait(self) -> None:
        """See `Service.wait`."""
        done, _ = await asyncio.wait(self._roots, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """See `Service.stop`: requests in flight get their answers before what they need is closed."""
        await self._teardown.close()

    async def _drain(self) -> None:
        self._server.stop()
        if self._serving_task is not None:
            await asyncio.wait((self._serving_task,))
