"""The image store's port, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from sandbank.aiokit.tasks import TaskGroup
from sandbank.docker_reverse_proxy.endpoints.store_application import StoreApplication
from sandbank.domain.errors import InternalError
from sandbank.servicekit.ports import listen

HOST = "127.0.0.1"
_KEEP_ALIVE_SECONDS = 75  # longer than those who ask keep a connection
_GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    """Signals belong to whoever runs the services."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class StoreServer:
    """Has the shape of a service; uvicorn does the work."""

    def __init__(self, application: StoreApplication, port: int, tasks: TaskGroup) -> None:
        self._application = application
        self._port = port
        self._tasks = tasks
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; `UnavailableError` names a port that is taken."""
        listener = listen(HOST, self._port, "the image store")
        config = uvicorn.Config(
            self._application,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = self._server = _Server(config)
        task = self._serving = self._tasks.start("image store", server.serve([listener]))
        ready = self._tasks.start("image store start", server.serving.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            raise InternalError("the image store did not start")

    async def wait(self) -> None:
        """Raise as soon as it is not served any more; return when it was stopped."""
        task, server = self._serving, self._server
        if task is not None and server is not None:
            await asyncio.wait({task})
            if not server.should_exit:
                raise InternalError("the image store ended by itself")

    async def stop(self) -> None:
        """Finish what is in flight, within seconds."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving})
