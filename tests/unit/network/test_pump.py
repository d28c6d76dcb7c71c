"""Bytes between sockets: order, ends, breaks, idleness."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from sandbank.runtime.network.egress.pump import both_ways

Pairs = tuple[socket.socket, socket.socket, socket.socket, socket.socket]


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for end in (one, other):
        end.setblocking(False)
    return one, other


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """A client, the proxy's two ends, a server."""
    ends = (*_tcp_pair(), *_tcp_pair())
    yield ends
    for end in ends:
        end.close()


async def _read_all(end: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while piece := await loop.sock_recv(end, 1 << 16):
        data += piece
    return bytes(data)


async def test_all_bytes_arrive_in_order_and_each_direction_ends_for_itself(pairs: Pairs) -> None:
    client, near, far, server = pairs
    loop = asyncio.get_running_loop()
    sent = bytes(range(256)) * (16 << 10)
    pumping = asyncio.ensure_future(both_ways(near, far, 10))
    reading = asyncio.ensure_future(_read_all(server))
    await loop.sock_sendall(client, sent)
    client.shutdown(socket.SHUT_WR)
    assert await reading == sent
    await loop.sock_sendall(server, b"answer")
    server.shutdown(socket.SHUT_WR)
    assert await _read_all(client) == b"answer"
    await pumping


async def test_what_a_slow_reader_does_not_take_stays_with_its_sender(pairs: Pairs) -> None:
    client, near, far, server = pairs
    for end in (near, far, client, server):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    pumping = asyncio.ensure_future(both_ways(near, far, 10))
    sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(client, b"x" * (8 << 20)))
    await asyncio.sleep(0.1)
    assert not sending.done()
    received = 0
    while received < 8 << 20:
        received += len(await asyncio.get_running_loop().sock_recv(server, 1 << 16))
    await sending
    pumping.cancel()
    await asyncio.wait({pumping})


@pytest.mark.parametrize("who", [0, 3])
async def test_a_reset_of_either_side_is_a_break(pairs: Pairs, who: int) -> None:
    pumping = asyncio.ensure_future(both_ways(pairs[1], pairs[2], 10))
    await asyncio.sleep(0)
    pairs[who].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pairs[who].close()
    with pytest.raises(ConnectionResetError):
        await pumping


async def test_what_does_not_move_is_given_up(pairs: Pairs) -> None:
    with pytest.raises(TimeoutError):
        await both_ways(pairs[1], pairs[2], 0.05)
