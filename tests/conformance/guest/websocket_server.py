"""A WebSocket server for inside a sandbox, with the `websockets` library beside it: `websocket_server.py <port>`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

seen: list[str] = []  # how clients ended


async def talk(connection: ServerConnection) -> None:
    """Echoes; or closes with a code, floods, or tells how former clients ended, by path."""
    assert connection.request is not None
    kind, _, argument = connection.request.path.strip("/").partition("/")
    if kind == "close":
        await connection.close(int(argument), "as asked")
    elif kind == "flood":
        for number in range(int(argument)):
            await connection.send(f"message {number}")
    elif kind == "seen":
        await connection.send("; ".join(seen))
    elif kind == "ping":
        await (await connection.ping(b"are you there"))
        await connection.send("it is")
    else:
        try:
            async for message in connection:
                await connection.send(message)
        finally:
            seen.append(f"{connection.close_code} {connection.close_reason}")


def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one that it knows, if it is offered."""
    return Subprotocol("words.v1") if "words.v1" in offered else None


async def main() -> None:
    """Serves until it is killed; never pings by itself."""
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), select_subprotocol=choose, ping_interval=None, max_size=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
