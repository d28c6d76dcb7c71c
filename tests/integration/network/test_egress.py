"""What a sandbox reaches and what it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.runtime.linux.netlink import Routing
from sandbank.runtime.network.pool import SlotPool
from tests.integration.network.namespaces import Neighbour, apart
from tests.integration.network.traffic import Listener, ping, spoofed_udp, tcp, udp, within

PORT = 7007


def _node_addresses() -> list[str]:
    with Routing() as routing:
        return sorted({address for link, address, _ in routing.addresses() if ":" not in address and link != "lo"})


@pytest.fixture
def website(public: Neighbour) -> Iterator[Listener]:
    listener = Listener(public.netns_fd, public.ip, PORT)
    yield listener
    listener.end()


@pytest.fixture
def intranet(private: Neighbour) -> Iterator[Listener]:
    listener = Listener(private.netns_fd, private.ip, PORT)
    yield listener
    listener.end()


async def test_the_internet_is_reached_by_the_nodes_address(pool: SlotPool, public: Neighbour, website: Listener) -> None:
    slot = await pool.acquire()
    assert await within(slot.netns_fd, tcp, public.ip, PORT) == "hello 198.51.100.1"
    assert await within(slot.netns_fd, udp, public.ip, PORT) == b"ping"
    assert await within(slot.netns_fd, ping, public.ip)


async def test_private_networks_are_not_reached(pool: SlotPool, private: Neighbour, intranet: Listener) -> None:
    slot = await pool.acquire()
    assert tcp(private.ip, PORT) == "hello 172.29.77.1", "the node itself must reach it, or this test proves nothing"
    assert await within(slot.netns_fd, tcp, private.ip, PORT) == "timeout"
    assert await within(slot.netns_fd, udp, private.ip, PORT) is None
    assert not await within(slot.netns_fd, ping, private.ip)
    assert intranet.heard() == {"172.29.77.1"}


async def test_the_metadata_service_is_not_reached(pool: SlotPool) -> None:
    metadata = Neighbour("nwmet", "169.254.169.1", "169.254.169.254")
    listener = Listener(metadata.netns_fd, metadata.ip, 80)
    try:
        metadata.add_route("169.254.169.1")
        slot = await pool.acquire()
        assert tcp(metadata.ip, 80) == "hello 169.254.169.1"
        assert await within(slot.netns_fd, tcp, metadata.ip, 80) == "timeout"
        assert await within(slot.netns_fd, udp, metadata.ip, 80) is None
        assert listener.heard() == {"169.254.169.1"}
    finally:
        listener.end()
        metadata.end()


async def test_no_address_of_the_node_is_reached(pool: SlotPool, public: Neighbour) -> None:
    slot = await pool.acquire()
    listener = Listener(None, "0.0.0.0", PORT)
    try:
        own = apart(_node_addresses)
        assert slot.host_ip in own
        assert "198.51.100.1" in own
        for address in (slot.host_ip, "198.51.100.1", *own[:4]):
            assert await within(slot.netns_fd, tcp, address, PORT, 0.3) == "timeout"
            assert await within(slot.netns_fd, udp, address, PORT, b"x", 0.3) is None
            assert not await within(slot.netns_fd, ping, address, 0.3)
        assert listener.heard() == set()
    finally:
        listener.end()


async def test_other_slots_are_not_reached(pool: SlotPool) -> None:
    one, other = await pool.acquire(), await pool.acquire()
    listener = Listener(other.netns_fd, "0.0.0.0", PORT)
    try:
        assert await within(one.netns_fd, tcp, other.ip, PORT) == "timeout"
        assert await within(one.netns_fd, udp, other.ip, PORT) is None
        assert not await within(one.netns_fd, ping, other.ip)
        assert listener.heard() == set()
    finally:
        listener.end()


async def test_a_made_up_source_reaches_nobody(pool: SlotPool, public: Neighbour, website: Listener, intranet: Listener) -> None:
    one, other = await pool.acquire(), await pool.acquire()
    neighbour = Listener(other.netns_fd, "0.0.0.0", PORT)
    try:
        for source in (other.ip, other.host_ip, one.host_ip, "198.51.100.1", "203.0.113.9", "127.0.0.1"):
            for address in (public.ip, "172.29.77.2", other.ip):
                await within(one.netns_fd, spoofed_udp, source, address, PORT)
        await within(one.netns_fd, spoofed_udp, one.ip, public.ip, PORT)
        # The last one was sent after all the others and came through, so the others did not.
        assert await within(one.netns_fd, udp, public.ip, PORT) == b"ping"
        assert website.heard() == {"198.51.100.1"}
        assert intranet.heard() == set()
        assert neighbour.heard() == set()
    finally:
        neighbour.end()


async def test_the_node_and_the_outside_open_nothing_to_a_sandbox(pool: SlotPool, public: Neighbour) -> None:
    slot = await pool.acquire()
    listener = Listener(slot.netns_fd, "0.0.0.0", PORT)
    public.add_route("198.51.100.1")
    try:
        assert tcp(slot.ip, PORT, 0.5) in ("timeout", "errno 1")
        assert await within(public.netns_fd, tcp, slot.ip, PORT) == "timeout"
        assert await within(public.netns_fd, udp, slot.ip, PORT) is None
        assert listener.heard() == set()
    finally:
        listener.end()


def _open_flows(address: str, count: int) -> None:
    for port in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (address, 10_000 + port % 50_000))


def _flows_from(source: str) -> int:
    """In the node's own table."""
    return sum(f"src={source} " in line for line in Path("/proc/net/nf_conntrack").read_text().splitlines())


async def test_no_slot_fills_the_nodes_table_of_connections(pool: SlotPool, public: Neighbour) -> None:
    slot, other = await pool.acquire(), await pool.acquire()
    listener = Listener(public.netns_fd, public.ip, PORT)
    try:
        await within(slot.netns_fd, _open_flows, public.ip, 20_000)
        assert _flows_from(slot.ip) <= 4096
        assert await within(other.netns_fd, tcp, public.ip, PORT) == "hello 198.51.100.1"
    finally:
        listener.end()
