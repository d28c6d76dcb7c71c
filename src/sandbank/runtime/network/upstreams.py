"""The name servers that the node itself uses."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from sandbank.runtime.network.query import answers, question_of

Server = tuple[str, int]


class Upstreams:
    """`nameserver` lines of a resolv.conf, read again when the file changes; or a fixed list."""

    def __init__(self, path: Path, fixed: Sequence[Server] = ()) -> None:
        self._path = path
        self._fixed = list(fixed)
        self._seen: tuple[int, int, int] | None = None
        self._servers: list[Server] = []

    def servers(self) -> list[Server]:
        """In the order of asking; empty when there are none or the file is gone."""
        if self._fixed:
            return self._fixed
        try:
            state = os.stat(self._path)
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                self._servers = parse(self._path.read_text(errors="replace"))
                self._seen = seen
        except OSError:
            self._servers, self._seen = [], None
        return self._servers


def parse(text: str) -> list[Server]:
    """The servers of a resolv.conf; lines that make no sense are passed over, as the C library does."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            servers.append((words[1], 53))
    return servers


class _Answer(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers; the socket is connected, so the kernel drops what others send."""

    def __init__(self, transaction: bytes, question: bytes) -> None:
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transaction = transaction
        self._question = question

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.received.done() and answers(data, self._transaction, self._question):
            self.received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)


async def ask_udp(server: Server, query: bytes) -> bytes:
    """Ask once from a random port with a random transaction id; the answer carries the query's own id again. `OSError` when refused."""
    transaction = secrets.token_bytes(2)
    sock = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(server)  # the kernel picks a random port for a socket that has none
    except BaseException:
        sock.close()
        raise
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answer(transaction, question_of(query)), sock=sock
    )
    try:
        transport.sendto(transaction + query[2:])
        return query[:2] + (await protocol.received)[2:]
    finally:
        protocol.received.cancel()
        transport.close()


async def ask_tcp(server: Server, query: bytes) -> bytes:
    """The same over a connection of its own (RFC 7766). `OSError` or `asyncio.IncompleteReadError` when it breaks."""
    transaction = secrets.token_bytes(2)
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(query)) + transaction + query[2:])
        await writer.drain()
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(length)
    finally:
        writer.close()
    if not answers(answer, transaction, question_of(query)):
        raise OSError(f"{server[0]} answered something else")
    return query[:2] + answer[2:]
