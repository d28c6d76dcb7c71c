"""A way to Redis that breaks when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class BreakingConnection:
    """Passes everything on, but ends the connection in place of the next answer to a command that contains `break_at`; with `hangs`, it
    keeps the client waiting instead."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self.break_at: bytes | None = None
        self.hangs = False
        self.broken = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, a command at a time."""
        upstream, to_server = await asyncio.open_unix_connection(str(self._server))
        try:
            while command := await reader.read(1 << 20):
                breaks = self.break_at is not None and self.break_at in command
                to_server.write(command)
                answer = await upstream.read(1 << 20)
                if breaks and not answer.startswith(b"-NOSCRIPT"):
                    self.break_at = None
                    self.broken.set()
                    if self.hangs:
                        await reader.read()  # until the client gives up
                    return
                writer.write(answer)
        finally:
            to_server.close()
            writer.close()


@asynccontextmanager
async def breaking(server: Path, socket: Path) -> AsyncIterator[BreakingConnection]:
    """Listen at `socket` for clients of the Redis at `server`."""
    connection = BreakingConnection(server)
    async with await asyncio.start_unix_server(connection.serve, str(socket)):
        yield connection
