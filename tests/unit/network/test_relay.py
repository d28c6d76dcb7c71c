"""What looking through requests that get headers may cost."""

from __future__ import annotations

import asyncio
import socket

from sandbank.aiokit.pace import Pace
from sandbank.runtime.network.egress.requests import Head
from sandbank.runtime.network.interception.relay import Relay
from sandbank.runtime.network.interception.streams import Stream, accepted, connected

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100 + b"0\r\n\r\n"


class _Counting(Pace):
    def __init__(self) -> None:
        super().__init__(1e9, 1e9)
        self.units = 0.0

    def delay(self, units: float, now: float) -> float:
        self.units += units
        return super().delay(units, now)


async def test_small_requests_and_chunks_are_paced_and_nothing_is_lost() -> None:
    client, inside = socket.socketpair()
    upstream, outside = socket.socketpair()
    for end in (client, inside, upstream, outside):
        end.setblocking(False)

    async def open_upstream() -> Stream:
        return await connected(upstream, None, "a.test")

    async def unchanged(head: Head) -> bytes:
        return head.raw

    pace = _Counting()
    stream = await accepted(inside, None)
    carrying = asyncio.ensure_future(Relay(stream, open_upstream, unchanged, pace, 60).run())
    loop = asyncio.get_running_loop()
    sent = 100 * REQUEST + CHUNKED
    await loop.sock_sendall(client, sent)
    received = b""
    async with asyncio.timeout(10):
        while len(received) < len(sent):
            received += await loop.sock_recv(outside, 65_536)
        await loop.sock_sendall(outside, b"answer")
        assert await loop.sock_recv(client, 100) == b"answer"
        for end in (client, outside):
            end.shutdown(socket.SHUT_WR)
        await carrying
    assert received == sent
    assert pace.units >= 10 * 101 + 2 * 100
    stream.abort()
    for end in (client, inside, outside):
        end.close()
