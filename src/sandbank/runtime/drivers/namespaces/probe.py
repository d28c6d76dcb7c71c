"""Asking a new sandbox's agent how it is, the way that all traffic will take."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from sandbank.domain.errors import UnavailableError

AGENT_PORT = 49983
_PAUSE_SECONDS = 0.005


async def probe_agent(dial: Callable[[int], socket.socket], deadline_seconds: float, headers: Mapping[str, str]) -> None:
    """Return once `GET /health`, with `headers`, was answered with 204; `UnavailableError` when that does not happen in time."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET /health HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n{more}\r\n".encode()
    try:
        async with asyncio.timeout(deadline_seconds):
            while not await _ask(dial, request):  # noqa: ASYNC110  # what is awaited happens in another process
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(f"the sandbox's agent did not answer within {deadline_seconds:g} seconds") from error


async def _ask(dial: Callable[[int], socket.socket], request: bytes) -> bool:
    loop = asyncio.get_running_loop()
    with dial(AGENT_PORT) as connection:
        try:
            await loop.sock_sendall(connection, request)
            return (await loop.sock_recv(connection, 64)).startswith(b"HTTP/1.1 204")
        except OSError:
            return False
