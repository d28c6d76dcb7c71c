"""An HTTP connection that was allowed for the name in its first request: every further request must ask for the same name."""

from __future__ import annotations

import asyncio
import socket

from sandbank.aiokit.pace import Pace
from sandbank.aiokit.tasks import TaskGroup
from sandbank.runtime.network.egress.pump import Pump, both_ways, run
from sandbank.runtime.network.egress.requests import AmbiguousRequestError, Head, RequestReader
from sandbank.runtime.network.egress.sniff import peek

_CHUNK = 8 * 1024
_LAST_SECONDS = 30.0  # for a client to close after the server has
_SWITCHED = b"HTTP/1.1 101"


class OtherNameError(OSError):
    """A request asks for another name than the first one did."""


async def carry(client: socket.socket, upstream: socket.socket, name: str, idle_seconds: float, pace: Pace) -> None:
    """Until both sides have ended; `pace` counts requests, and chunks and lines of bodies.

    `OtherNameError`, `AmbiguousRequestError`, `OSError`, `TimeoutError`: the connection is to be reset.
    """
    loop = asyncio.get_running_loop()
    reader = RequestReader()
    async with asyncio.timeout(idle_seconds):
        switched = await _first_request(loop, client, upstream, reader, name, pace)
    if switched:
        await both_ways(client, upstream, idle_seconds)
        return
    back = Pump(upstream, client)
    tasks = TaskGroup("web", lambda _name, _error: None)
    try:
        requests = tasks.start("requests", _requests(loop, client, upstream, reader, name, back, pace))
        answers = tasks.start("answers", run([back], idle_seconds))
        await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
        if requests.done():
            requests.result()
        await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_EXCEPTION, timeout=_LAST_SECONDS if answers.done() else None)
        for ended in (requests, answers):
            if ended.done():
                ended.result()
    finally:
        await tasks.close()


async def _first_request(
    loop: asyncio.AbstractEventLoop, client: socket.socket, upstream: socket.socket, reader: RequestReader, name: str, pace: Pace
) -> bool:
    """Pass on what belongs to it, and tell whether both sides agreed to speak something else from then on."""
    while True:
        data = await loop.sock_recv(client, _CHUNK)
        if not data:
            raise OSError("the client closed before it had asked")
        heads = await _pass(loop, upstream, reader.feed(data), name, pace)
        if heads:
            break
    protocol = heads[0].upgrade
    if protocol is None:
        return False
    if len(heads) > 1 or reader.is_amid:
        raise AmbiguousRequestError("more before the answer to an upgrade")
    if not await peek(upstream, _is_switch, len(_SWITCHED)):
        return False
    if protocol != b"websocket":
        raise AmbiguousRequestError("a protocol that names cannot be seen in")
    return True


def _is_switch(data: bytes) -> bool | None:
    if data == _SWITCHED:
        return True
    return None if _SWITCHED.startswith(data) else False


async def _requests(
    loop: asyncio.AbstractEventLoop,
    client: socket.socket,
    upstream: socket.socket,
    reader: RequestReader,
    name: str,
    back: Pump,
    pace: Pace,
) -> None:
    while data := await loop.sock_recv(client, _CHUNK):
        back.moved_at = loop.time()
        for head in await _pass(loop, upstream, reader.feed(data), name, pace):
            if head.upgrade is not None:
                raise AmbiguousRequestError("an upgrade is for the first request")
    upstream.shutdown(socket.SHUT_WR)


async def _pass(loop: asyncio.AbstractEventLoop, upstream: socket.socket, pieces: list[Head | bytes], name: str, pace: Pace) -> list[Head]:
    await asyncio.sleep(pace.delay(len(pieces), loop.time()))
    heads = [piece for piece in pieces if isinstance(piece, Head)]
    if any(head.name != name for head in heads):
        raise OtherNameError(name)
    out = b"".join(piece.raw if isinstance(piece, Head) else piece for piece in pieces)
    if out:
        await loop.sock_sendall(upstream, out)
    return heads
