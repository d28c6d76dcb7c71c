"""Looking at what a client sends first, without taking any of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

from sandbank.runtime.network.egress.client_hello import MAX_BYTES, Asked, read_hello
from sandbank.runtime.network.egress.requests import MAX_HEAD_BYTES, AmbiguousRequestError, parse_head

T = TypeVar("T")
_MOST_LOOKS = 64  # each starts from the first byte: who sends one at a time must not cost the node a look at all for each


async def asked_name(client: socket.socket, port: int, seconds: float) -> str | None:
    """The name that a client asks for on port 80 or 443 within that time, else None. `OSError` when it breaks."""
    read = read_hello if port == 443 else _read_request
    try:
        async with asyncio.timeout(seconds):
            asked = await peek(client, read, max(MAX_BYTES, MAX_HEAD_BYTES))
    except TimeoutError:
        return None
    return asked.name if asked is not None else None


def _read_request(data: bytes) -> Asked | None:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        # What cannot become a request need not be waited for.
        line = data[:32].split(b" ")[0]
        return None if len(data) < MAX_HEAD_BYTES and (not line or (line.isalpha() and line.isupper())) else Asked(None)
    try:
        return Asked(parse_head(data[: end + 4]).name)
    except AmbiguousRequestError:
        return Asked(None)


async def peek(sock: socket.socket, read: Callable[[bytes], T | None], most: int) -> T | None:
    """What `read` makes of the first bytes; None when the stream ends, or has `most` bytes, before it makes anything of them.

    The kernel is told to wake us only for more than was seen (SO_RCVLOWAT), and told otherwise again at the end.
    """
    loop = asyncio.get_running_loop()
    seen = 0
    try:
        for _ in range(_MOST_LOOKS):
            await _readable(loop, sock)
            data = sock.recv(most, socket.MSG_PEEK)
            if len(data) > seen and (found := read(data)) is not None:
                return found
            if len(data) <= seen or len(data) >= most:
                return None
            seen = len(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
        return None
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.remove_reader(sock)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
