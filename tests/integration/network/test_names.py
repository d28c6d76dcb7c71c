"""Names through the forwarder."""

from __future__ import annotations

import socket
import struct

from sandbank.runtime.network.pool import SlotPool
from tests.integration.network.name_server import ADDRESS, NameServer, query
from tests.integration.network.traffic import tcp, udp, within


def _over_tcp(name: str) -> bytes:
    with socket.create_connection(("8.8.8.8", 53), timeout=2) as connection, connection.makefile("rb") as stream:
        asked = query(name)
        connection.sendall(struct.pack("!H", len(asked)) + asked)
        (length,) = struct.unpack("!H", stream.read(2))
        return stream.read(length)


async def test_names_resolve(pool: SlotPool, name_server: NameServer) -> None:
    slot = await pool.acquire()
    for _ in range(3):
        answer = await within(slot.netns_fd, udp, "8.8.8.8", 53, query("a.test"))
        assert answer is not None
        assert answer[:2] == b"\x12\x34"
        assert answer.endswith(ADDRESS)
    assert len({port for _, port in name_server.asked_from}) > 1
    assert name_server.transactions != [b"\x12\x34"] * 3


async def test_a_truncated_answer_is_followed_by_tcp(pool: SlotPool) -> None:
    slot = await pool.acquire()
    answer = await within(slot.netns_fd, udp, "8.8.8.8", 53, query("long.test"))
    assert answer is not None
    assert answer[2] & 2, "the truncation bit goes through"
    whole = await within(slot.netns_fd, _over_tcp, "long.test")
    assert whole.count(ADDRESS) == 100


async def test_the_forwarder_is_for_slots_and_by_its_public_address_only(pool: SlotPool) -> None:
    slot = await pool.acquire()
    own = "10.213.255.254"
    assert udp(own, 1053, query("a.test"), 0.5) is None
    assert tcp(own, 1053, 0.5) == "timeout"
    assert await within(slot.netns_fd, udp, own, 1053, query("a.test"), 0.5) is None


async def test_rubbish_does_not_stop_it(pool: SlotPool) -> None:
    slot = await pool.acquire()
    for rubbish in (b"", b"x", query("a.test")[:-3], b"\xff" * 40):
        assert await within(slot.netns_fd, udp, "8.8.8.8", 53, rubbish, 0.2) is None
    assert await within(slot.netns_fd, udp, "8.8.8.8", 53, query("a.test")) is not None


def _flood(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("8.8.8.8", 53))
        for _ in range(count):
            sock.send(query("a.test"))


async def test_a_flood_of_questions_is_thinned_before_it_reaches_the_node(pool: SlotPool, name_server: NameServer) -> None:
    """From one port and one flow; a neighbour's question is answered meanwhile."""
    one, other = await pool.acquire(), await pool.acquire()
    await within(one.netns_fd, _flood, 20_000)
    assert await within(other.netns_fd, udp, "8.8.8.8", 53, query("a.test")) is not None
    assert len(name_server.asked_from) < 5000
