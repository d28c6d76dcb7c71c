"""Byte streams over given sockets, with TLS or without."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

_HANDSHAKE_SECONDS = 15.0
_CLOSE_SECONDS = 5.0
_LIMIT = 64 * 1024


class Stream:
    """A connection of ours: whoever made it ends it with `abort`, also after `finish`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, most: int) -> bytes:
        """What is there, waiting for some; empty at the end. `OSError` when it broke."""
        return await self._reader.read(most)

    async def send(self, data: bytes) -> None:
        """Returns when the peer is not far behind."""
        self._writer.write(data)
        await self._writer.drain()

    @property
    def can_end(self) -> bool:
        """Whether one direction can end and the other go on, which TLS does not know."""
        return self._writer.can_write_eof()

    def end(self) -> None:
        """No more will be sent, where that can be said."""
        if self.can_end:
            self._writer.write_eof()

    async def finish(self) -> None:
        """Send what is left and close; not for ever if the peer does not take it."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """At once. Idempotent."""
        self._writer.transport.abort()


async def accepted(sock: socket.socket, context: ssl.SSLContext | None) -> Stream:
    """The server's side of a connection; `sock` stays the caller's. `OSError` when there is no agreement."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    own = sock.dup()
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, own, ssl=context, ssl_handshake_timeout=None if context is None else _HANDSHAKE_SECONDS
        )
    except BaseException:
        own.close()
        raise
    return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def connected(sock: socket.socket, context: ssl.SSLContext | None, name: str) -> Stream:
    """The client's side, which takes `sock` over. `OSError` when the server is not `name` by its certificate."""
    try:
        if context is None:
            return Stream(*await asyncio.open_connection(sock=sock, limit=_LIMIT))
        pair = await asyncio.open_connection(
            sock=sock, limit=_LIMIT, ssl=context, server_hostname=name, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
    except BaseException:
        sock.close()
        raise
    return Stream(*pair)
