"""Servers and clients that say exactly the bytes a test gives them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sandbank.proxy.routes import LocalRoute

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SANDBOX = "iaaaaaaaaaaaaaaaaaaaa"


def dial_loopback(port: int) -> socket.socket:
    """What a route's `dial` does, without a namespace."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    return sock


def route_to(
    sandbox_id: str = SANDBOX,
    *,
    token: str | None = None,
    mask: str | None = None,
    real_port: int | None = None,
    https_ports: Iterable[int] = (),
) -> LocalRoute:
    """A route whose sandbox is this machine's loopback; with `real_port` every port of the sandbox leads there."""
    return LocalRoute(sandbox_id, "execution-1", lambda port: dial_loopback(real_port or port), token, mask, frozenset(https_ports))


@asynccontextmanager
async def origin(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback, in TLS with a `context`; yields its port. The handler's connection is closed when it returns."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the next close a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """One head with its empty line."""
    return await reader.readuntil(b"\r\n\r\n")


@dataclass
class Answer:
    """One answer as it came."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """One final or interim answer, its chunked body decoded."""
    head = await read_head(reader)
    answer = Answer(int(head.split(b" ", 2)[1]), head, b"")
    if head_only or answer.status < 200 or answer.status in (204, 304):
        return answer
    length = answer.header("content-length")
    if length is not None:
        answer.body = await reader.readexactly(int(length))
    elif (answer.header("transfer-encoding") or "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            answer.body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readline() != b"\r\n":
            pass
    else:
        answer.body = await reader.read()
    return answer


class Client:
    """A raw client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, data: bytes, *, head_only: bool = False) -> Answer:
        """Send bytes, read one answer."""
        await self.send(data)
        return await read_answer(self.reader, head_only=head_only)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    """A connection to a proxy on loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def get(port: int, path: str = "/", *, sandbox_id: str = SANDBOX, extra: str = "", method: str = "GET") -> bytes:
    """A request without a body to a sandbox's port."""
    return f"{method} {path} HTTP/1.1\r\nHost: {port}-{sandbox_id}.localhost\r\n{extra}\r\n".encode()


class Endless:
    """Answers `hello` and never ends; `left` is set when the connection is gone."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        with contextlib.suppress(OSError):
            await reader.read()
        self.left.set()


class Firehose:
    """Answers with `total` zero bytes as fast as they are taken; `sent` says how far it came."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.sent = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.total)
        piece = bytes(256 * 1024)
        while self.sent < self.total:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
