"""Lines on their way out of the sandbox: to a port on loopback where the node listens in this sandbox's network (ADR 0010).

Nothing is open and nothing runs while there is nothing to say, so an idle sandbox costs nothing and a memory snapshot finds no
connection. Without an acknowledgement lines stay in the journal, whose size is bounded, and are sent again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from sandbank.aiokit.tasks import TaskGroup
from sandbank.envd.journal import Journal

LOG_PORT = 49982
GATHER_SECONDS = 0.1  # lines that follow one another go together, and none during the short command that wrote it
BATCH_BYTES = 64 * 1024
PATIENCE_SECONDS = 60.0  # a node that takes lines slowly does so on purpose
_FIRST_PAUSE_SECONDS = 0.5
_LAST_PAUSE_SECONDS = 60.0  # a node without a log store never listens


class Shipping:
    """Sends the journal's lines, one batch at a time."""

    def __init__(self, journal: Journal, tasks: TaskGroup, port: int = LOG_PORT) -> None:
        self._journal = journal
        self._tasks = tasks
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._pause_seconds = 0.0
        self._is_busy = False

    def wake(self) -> None:
        """There is a line."""
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_later(GATHER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._tasks.start("ship", self._ship())

    async def _ship(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._send(self._journal.peek(BATCH_BYTES))
        except (OSError, TimeoutError):  # the node restarts, or keeps no logs
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
        else:
            self._journal.acknowledge()
            self._pause_seconds = 0.0
        if self._journal.is_empty:
            self._is_busy = False
        else:
            self._loop.call_later(max(GATHER_SECONDS, self._pause_seconds), self._begin)

    async def _connect(self, connection: socket.socket) -> None:
        """Not by the loop's `sock_connect`: that looks up even an address, in four threads that stay."""
        error = connection.connect_ex(("127.0.0.1", self._port))
        if error == errno.EINPROGRESS:
            connected: asyncio.Future[None] = self._loop.create_future()
            self._loop.add_writer(connection.fileno(), _resolve, connected)
            try:
                await connected
            finally:
                self._loop.remove_writer(connection.fileno())
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    async def _send(self, batch: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as connection:
            await self._connect(connection)
            await self._loop.sock_sendall(connection, batch)
            connection.shutdown(socket.SHUT_WR)
            if not await self._loop.sock_recv(connection, 1):
                raise ConnectionResetError("the node did not take the lines")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
