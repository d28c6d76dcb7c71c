"""What the node says to the agent of a running sandbox."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.drivers.namespaces.probe import AGENT_PORT


async def initialise(
    dial: Callable[[int], socket.socket], token: str | None, fields: Mapping[str, object], deadline_seconds: float
) -> None:
    """`POST /init` with `fields` (data-plane contract §4.8); without `accessToken` among them, the agent has none from then on.

    `token` is the one it has now. `UnavailableError` unless it does as it is told.
    """
    body = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
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
