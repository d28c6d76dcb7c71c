"""TLS to an egress proxy, as a plain socket for those who only know sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl

from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.driver import ProxyTls

_CHUNK = 64 * 1024
_HALF_CLOSED_SECONDS = 60.0


class Tunnels:
    """Between a socket pair and a TLS connection bytes are carried by tasks of `tasks`: 128 KiB of them at a time in each direction."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    async def wrap(self, sock: socket.socket, host: str, tls: ProxyTls) -> socket.socket:
        """A socket that speaks cleartext to what `sock` speaks TLS to, its certificate verified. Takes `sock` over; `OSError`."""
        try:
            context = ssl.create_default_context(cadata=tls.ca_cert)
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=tls.server_name or host, limit=_CHUNK)
        except ValueError as error:
            raise OSError("TLS to the egress proxy is not possible as configured") from error
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._tasks.start("tunnel", _carry(theirs, reader, writer))
        return ours


async def _carry(inner: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()

    async def outwards() -> None:
        while data := await loop.sock_recv(inner, _CHUNK):
            writer.write(data)
            await writer.drain()

    async def inwards() -> None:
        while data := await reader.read(_CHUNK):
            await loop.sock_sendall(inner, data)
        inner.shutdown(socket.SHUT_WR)

    # asyncio cannot end one direction of TLS: the peer learns of the sandbox's end when the whole connection ends.
    tasks = TaskGroup("tunnel", lambda _name, _error: None)
    try:
        back = tasks.start("inwards", inwards())
        await asyncio.wait({back, tasks.start("outwards", outwards())}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({back}, timeout=_HALF_CLOSED_SECONDS)
    finally:
        await tasks.close()
        writer.transport.abort()
        inner.close()
