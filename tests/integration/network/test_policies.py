"""Policies on the real kernel: what the firewall judges by address (rest-api §10.2, data-plane §11.3)."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy
from sandbank.runtime.network.pool import Adopted, SlotPool
from sandbank.runtime.network.settings import NetworkSettings
from tests.integration.network.clients import seconds_to_fail, talk
from tests.integration.network.conftest import layout
from tests.integration.network.internet import Internet
from tests.integration.network.name_server import NameServer, query
from tests.integration.network.namespaces import Holder, Neighbour, inside, make_namespaces
from tests.integration.network.origin import OTHER_SITE, PLAIN_PORT, SITE
from tests.integration.network.traffic import Listener, ping, tcp, udp, within

HELLO = f"hello from {SITE}"
NAMES = ("8.8.8.8", 53, query("a.test"))


async def _reaches(netns_fd: int, address: str, port: int = PLAIN_PORT) -> bool:
    return (await within(netns_fd, tcp, address, port)).startswith(f"hello from {address}")


async def test_without_a_policy_everything_public_is_reached(pool: SlotPool, internet: Internet) -> None:
    slot = await pool.acquire()
    for port in (22, PLAIN_PORT):
        assert await _reaches(slot.netns_fd, SITE, port)
    assert await within(slot.netns_fd, udp, *NAMES) is not None


async def test_a_closed_sandbox_reaches_nothing_not_even_names_and_learns_it_at_once(pool: SlotPool, internet: Internet) -> None:
    slot = await pool.acquire()
    await pool.set_egress(slot, "one", CLOSED)
    assert await within(slot.netns_fd, talk, SITE, PLAIN_PORT) == "refused"
    assert await within(slot.netns_fd, seconds_to_fail, SITE, 443) < 1
    assert await within(slot.netns_fd, udp, SITE, 53, b"x", 0.3) is None
    assert await within(slot.netns_fd, udp, *NAMES, 0.3) is None
    assert not await within(slot.netns_fd, ping, SITE, 0.3)
    await pool.set_egress(slot, "one", OPEN)
    assert await _reaches(slot.netns_fd, SITE)


async def test_allow_beats_deny_and_allow_alone_denies_nothing(pool: SlotPool, internet: Internet) -> None:
    slot = await pool.acquire()
    await pool.set_egress(slot, "one", EgressPolicy(allowed_cidrs=(f"{SITE}/32", "8.8.8.8/32"), denied_cidrs=("0.0.0.0/0", "0.0.0.0/0")))
    assert await _reaches(slot.netns_fd, SITE)
    assert await within(slot.netns_fd, udp, SITE, 53) == b"ping"
    assert await within(slot.netns_fd, ping, SITE)
    assert not await _reaches(slot.netns_fd, OTHER_SITE)
    assert not await within(slot.netns_fd, ping, OTHER_SITE, 0.3)
    assert await within(slot.netns_fd, udp, *NAMES) is not None
    await pool.set_egress(slot, "one", EgressPolicy(allowed_cidrs=(f"{SITE}/32",)))
    assert await _reaches(slot.netns_fd, OTHER_SITE)
    await pool.set_egress(slot, "one", EgressPolicy(denied_cidrs=("198.51.100.0/29", "2001:db8::/32")))
    assert not await _reaches(slot.netns_fd, SITE)
    assert await _reaches(slot.netns_fd, OTHER_SITE)


async def test_private_ranges_stay_denied_whatever_is_allowed(pool: SlotPool, private: Neighbour) -> None:
    listener = Listener(private.netns_fd, private.ip, PLAIN_PORT)
    slot = await pool.acquire()
    try:
        allowed = ("0.0.0.0/0", f"{private.ip}/32", "10.0.0.0/8", "127.0.0.0/8")
        for policy in (EgressPolicy(allowed_cidrs=allowed), EgressPolicy(allowed_cidrs=allowed, allowed_domains=("*",))):
            await pool.set_egress(slot, "one", policy)
            for address in (private.ip, slot.host_ip, "10.213.255.254"):
                assert not (await within(slot.netns_fd, tcp, address, PLAIN_PORT, 0.3)).startswith("hello")
                assert await within(slot.netns_fd, udp, address, PLAIN_PORT, b"x", 0.3) is None
        assert listener.heard() == set()
    finally:
        listener.end()


async def test_hundreds_of_networks_with_overlaps(pool: SlotPool, internet: Internet) -> None:
    slot = await pool.acquire()
    many = tuple(f"203.0.{n}.0/24" for n in range(250)) * 2 + tuple(f"203.0.113.{n}/32" for n in range(250)) + ("203.0.0.0/17",)
    await pool.set_egress(slot, "one", EgressPolicy(denied_cidrs=(*many, f"{SITE}/32"), allowed_cidrs=many))
    assert not await _reaches(slot.netns_fd, SITE)
    assert await _reaches(slot.netns_fd, OTHER_SITE)


def _speak_until_cut(address: str, channel: int) -> str:
    with socket.socket(fileno=channel) as told, socket.create_connection((address, PLAIN_PORT), timeout=3) as connection:
        connection.recv(100)
        told.send(b"connected")
        told.recv(1)
        try:
            connection.sendall(b"after")
            return connection.recv(100).decode() or "closed"
        except ConnectionResetError:
            return "reset"


async def test_a_stricter_policy_ends_what_it_does_not_allow_and_nothing_else(pool: SlotPool, internet: Internet) -> None:
    slot = await pool.acquire()
    ends = []
    for address in (SITE, OTHER_SITE):
        ours, theirs = socket.socketpair()
        speaking = asyncio.create_task(
            asyncio.to_thread(inside, slot.netns_fd, lambda a=address, t=theirs: _speak_until_cut(a, t.fileno()))
        )
        assert await asyncio.to_thread(ours.recv, 20) == b"connected"
        ends.append((ours, theirs, speaking))
    await pool.set_egress(slot, "one", EgressPolicy(denied_cidrs=(f"{SITE}/32",)))
    for ours, _, _ in ends:
        ours.send(b"x")
    assert [await speaking for _, _, speaking in ends] == ["reset", "after"]
    for ours, theirs, _ in ends:
        ours.close()
        theirs.close()


async def test_a_policy_outlives_the_service_without_a_gap_and_does_not_outlive_its_tenant(
    clean: None, internet: Internet, name_server: NameServer, tmp_path: Path
) -> None:
    holders: dict[int, Holder] = {}

    async def make_and_hold(base_uid: int) -> tuple[int, int]:
        holder = holders[base_uid] = Holder(base_uid)
        return holder.descriptors()

    settings = NetworkSettings(free_target=1, hold_seconds=0.1, upstreams=(name_server.address,))
    policy = EgressPolicy(denied_cidrs=(f"{SITE}/32",), allowed_domains=("*.example.com",))
    first = SlotPool(layout(tmp_path), make_and_hold, settings)
    await first.start({})
    slot = await first.acquire()
    await first.set_egress(slot, "one", policy)
    index, pid = slot.index, holders[slot.base_uid].pid
    with open(f"/proc/{pid}/ns/net") as namespace:
        await first.close()
        # Nobody serves: what the kernel judges is judged, what the proxy would judge is refused.
        assert await within(namespace.fileno(), talk, SITE, PLAIN_PORT) == "refused"
        assert await within(namespace.fileno(), talk, OTHER_SITE, PLAIN_PORT) != "refused"
        assert await within(namespace.fileno(), talk, OTHER_SITE, 443) == "refused"
    second = SlotPool(layout(tmp_path), make_namespaces, settings)
    await second.start({index: Adopted(pid, "one", policy)})
    try:
        again = second.adopted(index)
        assert await within(again.netns_fd, talk, SITE, PLAIN_PORT) == "refused"
        assert await _reaches(again.netns_fd, OTHER_SITE)
        await second.release(again)
        for holder in holders.values():
            holder.end()
        holders.clear()
        async with asyncio.timeout(20):
            while again not in second._free:
                await asyncio.sleep(0.02)
        assert await _reaches(again.netns_fd, SITE)
    finally:
        await second.close(remove=True)
        for holder in holders.values():
            holder.end()
