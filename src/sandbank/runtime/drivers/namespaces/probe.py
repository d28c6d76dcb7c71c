"""Asking a new sandbox's agent how it is, the way that all traffic will take."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from sandbank.domain.errors import UnavailableError

AGENT_PORT = 49983
_REQUEST = b"GET /health HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n"
_PAUSE_SECONDS = 0.005


async def probe_agent(dial: Callable[[int], socket.socket], deadline_seconds: float) -> None:
    """Return once `GET /health` was answered with 204; `UnavailableError` when that does not happen in time."""
    try:
        async with asyncio.timeout(deadline_seconds):
            while not await _ask(dial):  # noqa: ASYNC110  # what is awaited happens in another process
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(f"the sandbox's agent did not answer within {deadline_seconds:g} seconds") from error


async def _ask(dial: Callable[[int], socket.socket]) -> bool:
    loop = asyncio.get_running_loop()
    with dial(AGENT_PORT) as connection:
        try:
            await loop.sock_sendall(connection, _REQUEST)
            return (await loop.sock_recv(connection, 64)).startswith(b"HTTP/1.1 204")
        except OSError:
            return False
