"""The HTTP server: uvicorn, without its hold on signals, logging and the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from sandbank.api.endpoints.http_connection import Connection
from sandbank.domain.errors import InternalError
from sandbank.proxy.reset import reset
from sandbank.servicekit.ports import listen

# Longer than the 600 s after which load balancers drop idle connections, so that it is never us who close first (REST contract §1).
_KEEP_ALIVE_SECONDS = 620
_GRACE_SECONDS = 10
_LOOK_EVERY_TICKS = 5  # of a tenth of a second each


class _Server(uvicorn.Server):
    """Signals belong to whoever runs the services."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % _LOOK_EVERY_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection) and connection.is_overdue(now):
                    reset(connection.transport)  # or the kernel would go on offering what was not taken
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class HttpServer:
    """Serves one application at one address."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def bind(self) -> socket.socket:
        """Take the port; `UnavailableError` names it and who has it."""
        return listen(self._host, self._port, "the API")

    async def run(self, listener: socket.socket, serving: asyncio.Event) -> None:
        """Serve until `stop`; `serving` is set once requests are answered. Cancelling breaks off what is in flight."""
        config = uvicorn.Config(
            self._app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=4096,
        )
        server = self._server = _Server(config)
        server.serving = serving
        await server.serve([listener])
        if not server.should_exit:
            raise InternalError("the HTTP server ended by itself")

    def stop(self) -> None:
        """Accept nothing new, finish what is in flight, then end `run`."""
        if self._server is not None:
            self._server.should_exit = True
