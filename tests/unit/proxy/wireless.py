"""A connection without a wire: the proxy's client side between a transport that only remembers and a resolver that only listens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, cast

from sandbank.aiokit.tasks import TaskGroup
from sandbank.proxy.client import ClientConnection
from sandbank.proxy.exchange import Surroundings
from sandbank.proxy.head import RequestHead
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.owner import Connection
from sandbank.proxy.page import Page, plain
from sandbank.proxy.resolver import Decision, Forward


class Transport:
    """Takes what is written; `protocol` is who is called."""

    def __init__(self) -> None:
        self.protocol: asyncio.Protocol | None = None
        self.written = bytearray()
        self.ended = False
        self.closed = False
        self.reading = True
        self.buffered = 0

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        assert data, "nothing was written"
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = self.ended = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Listener:
    """A resolver: notes every request, answers with a page, or never when the path begins with /wait."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []

    def resolve(self, head: RequestHead) -> Decision | Coroutine[Any, Any, Decision]:
        self.heads.append(head)
        if head.target.startswith(b"/wait"):
            return self._wait()
        return plain(200, "heard")

    async def _wait(self) -> Decision:
        await asyncio.Event().wait()
        raise AssertionError

    def unreachable(self, head: RequestHead, forward: Forward) -> Page:
        raise AssertionError

    def gone(self, head: RequestHead, forward: Forward) -> Page:
        raise AssertionError

    def sweep(self, now: float) -> None:
        pass


class Owner:
    """A server without a socket."""

    def __init__(self) -> None:
        self.stopping = False
        self.connections: set[Connection] = set()

    def opened(self, connection: Connection) -> bool:
        self.connections.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)


class Conversation:
    """What came of some bytes."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.written = b""
        self.closed = False
        self.failures: list[BaseException] = []


async def _settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def _converse(pieces: Iterable[bytes]) -> Conversation:
    conversation = Conversation()
    tasks = TaskGroup("test", lambda name, error: conversation.failures.append(error))
    listener, owner, transport = Listener(), Owner(), Transport()
    around = Surroundings(listener, ProxyLimits(), tasks)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: conversation.failures.append(context.get("exception") or RuntimeError(context["message"]))
    )
    connection = ClientConnection(owner, around)
    transport.protocol = connection
    connection.connection_made(cast(asyncio.Transport, transport))
    for piece in pieces:
        if transport.closed:
            break
        transport.protocol.data_received(piece)
        await _settle()
    if not transport.closed and not transport.protocol.eof_received():
        transport.close()
    await _settle()
    conversation.closed = transport.ended
    transport.close()
    await _settle()
    assert not owner.connections
    await tasks.close()
    conversation.heads = listener.heads
    conversation.written = bytes(transport.written)
    return conversation


def converse(pieces: Iterable[bytes]) -> Conversation:
    """Send these pieces to a new connection, then end."""
    return asyncio.run(_converse(pieces))
