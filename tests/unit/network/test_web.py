"""Plain HTTP that is let through by name: what looking through it may cost (rest-api §10.2)."""

from __future__ import annotations

import asyncio
import socket

from sandbank.aiokit.pace import Pace
from sandbank.runtime.network.egress import web

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100 + b"0\r\n\r\n"


class _Counting(Pace):
    def __init__(self) -> None:
        super().__init__(1e9, 1e9)
        self.units = 0.0

    def delay(self, units: float, now: float) -> float:
        self.units += units
        return super().delay(units, now)


async def test_small_requests_and_chunks_are_paced() -> None:
    """8 KiB of them take some two milliseconds of a loop that all sandboxes share, a thousand times what 8 KiB of a file take."""
    ends = [*socket.socketpair(), *socket.socketpair()]
    client, inside, upstream, outside = ends
    for end in ends:
        end.setblocking(False)
    pace = _Counting()
    carrying = asyncio.ensure_future(web.carry(inside, upstream, "a.test", 60, pace))
    loop = asyncio.get_running_loop()
    sent = 100 * REQUEST + CHUNKED
    await loop.sock_sendall(client, sent)
    received = b""
    async with asyncio.timeout(10):
        while len(received) < len(sent):
            received += await loop.sock_recv(outside, 65_536)
        for end in (client, outside):
            end.shutdown(socket.SHUT_WR)
        await carrying
    assert received == sent
    assert pace.units >= 100 + 3 * 100
    for end in ends:
        end.close()
