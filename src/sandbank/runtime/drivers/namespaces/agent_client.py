"""What the node says to the agent of a running sandbox."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.drivers.namespaces.probe import AGENT_PORT


async def initialise(dial: Callable[[int], socket.socket], token: str | None, fields: Mapping[str, str], deadline_seconds: float) -> None:
    """`POST /init` with `fields` (data-plane contract §4.8); the token stays. `UnavailableError` unless the agent does as it is told."""
    body = json.dumps({**fields} if token is None else {**fields, "accessToken": token}).encode()
    known = "" if token is None else f"X-Access-Token: {token}\r\n"
    head = f"POST /init HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n{known}Content-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline_seconds):
            with dial(AGENT_PORT) as connection:
                await loop.sock_sendall(connection, head.encode() + body)
                answer = await loop.sock_recv(connection, 512)
    except (OSError, TimeoutError) as error:
        raise UnavailableError("the agent in the sandbox does not answer") from error
    if not answer.startswith(b"HTTP/1.1 204"):
        raise UnavailableError("the agent in the sandbox could not take what it was told, see the sandbox's logs")
