"""What the egress proxy judges by name, attacks on it included (rest-api §10.2, data-plane §11.3)."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.slot import Slot
from tests.integration.network.clients import BROKEN, get, raw_http, talk, tls
from tests.integration.network.internet import Internet
from tests.integration.network.name_server import NameServer
from tests.integration.network.namespaces import Neighbour, inside
from tests.integration.network.origin import OTHER_SITE, PLAIN_PORT, SITE
from tests.integration.network.traffic import Listener, tcp, udp, within

NAMES_ONLY = EgressPolicy(
    allowed_cidrs=("8.8.8.8/32",), denied_cidrs=("0.0.0.0/0",), allowed_domains=("site.test", "*.wild.test", "rebind.test")
)
ELSEWHERE = "203.0.113.99"  # what sandboxes claim that a name resolved to


@pytest.fixture
async def slot(pool: SlotPool, internet: Internet, name_server: NameServer) -> Slot:
    name_server.zone |= {
        "site.test": [SITE],
        "a.wild.test": [SITE],
        "b.a.wild.test": [SITE],
        "wild.test": [SITE],
        "other.test": [OTHER_SITE],
    }
    made = await pool.acquire()
    await pool.set_egress(made, "one", NAMES_ONLY)
    return made


def _seen(answer: object) -> object:
    return answer["address"] if isinstance(answer, dict) else answer


async def test_allowed_names_are_reached_and_no_others(slot: Slot) -> None:
    for name in ("site.test", "SITE.test", "site.test.", "a.wild.test", "b.a.wild.test"):
        assert _seen(await within(slot.netns_fd, get, ELSEWHERE, name)) == SITE, name
        assert _seen(await within(slot.netns_fd, tls, ELSEWHERE, name)) == SITE, name
    assert _seen(await within(slot.netns_fd, get, ELSEWHERE, "site.test:80")) == SITE
    for name in ("www.site.test", "wild.test", "other.test", "xsite.test", "site.test.evil.test", OTHER_SITE, ""):
        assert await within(slot.netns_fd, get, OTHER_SITE, name) == BROKEN, name
        assert await within(slot.netns_fd, tls, OTHER_SITE, name or None) == BROKEN, name


async def test_any_name_may_be_allowed_and_addresses_still_not(pool: SlotPool, slot: Slot) -> None:
    await pool.set_egress(slot, "one", EgressPolicy(denied_cidrs=("0.0.0.0/0",), allowed_domains=("*",)))
    assert _seen(await within(slot.netns_fd, tls, ELSEWHERE, "other.test")) == OTHER_SITE
    assert await within(slot.netns_fd, tls, SITE, None) == BROKEN
    assert await within(slot.netns_fd, tcp, SITE, PLAIN_PORT) == "refused"


async def test_an_allowed_name_leads_to_where_the_node_resolves_it(slot: Slot) -> None:
    # The sandbox says that the allowed name is at the address of its own server.
    assert _seen(await within(slot.netns_fd, get, OTHER_SITE, "site.test")) == SITE
    assert _seen(await within(slot.netns_fd, tls, OTHER_SITE, "site.test")) == SITE


async def test_names_that_resolve_inside_lead_nowhere(pool: SlotPool, slot: Slot, name_server: NameServer, private: Neighbour) -> None:
    listener = Listener(private.netns_fd, private.ip, 80)
    node = Listener(None, "198.51.100.1", 80)
    try:
        for address in (private.ip, "127.0.0.1", slot.host_ip, "169.254.169.254", "10.213.255.254", "0.0.0.0", "198.51.100.1"):
            name_server.zone["rebind.test"] = [address]
            assert await within(slot.netns_fd, get, SITE, "rebind.test") == BROKEN, address
            assert await within(slot.netns_fd, tls, SITE, "rebind.test") == BROKEN, address
        name_server.zone["rebind.test"] = [private.ip, SITE]
        assert _seen(await within(slot.netns_fd, get, OTHER_SITE, "rebind.test")) == SITE
        assert listener.heard() == set()
        assert node.heard() == set()
    finally:
        listener.end()
        node.end()


async def test_the_kernel_refuses_what_the_proxy_would_dial_inside(pool: SlotPool, slot: Slot, private: Neighbour) -> None:
    """The second lock: even a proxy that has been talked into it cannot connect there."""
    listener = Listener(private.netns_fd, private.ip, 80)
    try:
        pool._egress._dialler._never.networks.clear()
        pool._egress._dialler._never._first.clear()
        for address in (private.ip, "127.0.0.1", "198.51.100.1"):
            with pytest.raises(ConnectionRefusedError):
                async with asyncio.timeout(2):
                    (await pool._egress._dialler._connected(address, 80)).close()
        assert listener.heard() == set()
    finally:
        listener.end()


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_hello_in_pieces_is_put_together(slot: Slot, size: int) -> None:
    if size == 1:
        # One byte at a time is more often than the proxy looks: then the client has asked for nobody.
        assert await within(slot.netns_fd, tls, SITE, "site.test", size) == BROKEN
    else:
        assert _seen(await within(slot.netns_fd, tls, ELSEWHERE, "site.test", 100 if size == 3 else size)) == SITE


async def test_quic_other_ports_and_raw_addresses_are_judged_by_address(slot: Slot) -> None:
    assert await within(slot.netns_fd, udp, SITE, 443, b"x", 0.3) is None
    assert await within(slot.netns_fd, tcp, SITE, PLAIN_PORT) == "refused"
    assert await within(slot.netns_fd, tls, SITE, None) == BROKEN
    assert await within(slot.netns_fd, get, SITE, SITE) == BROKEN
    assert await within(slot.netns_fd, talk, SITE, 443, b"SSH-2.0-x\r\n") in ("reset", b"")


async def test_an_allowed_address_is_reached_with_any_name_or_none(pool: SlotPool, slot: Slot) -> None:
    policy = EgressPolicy(allowed_cidrs=(f"{OTHER_SITE}/32",), denied_cidrs=("0.0.0.0/0",), allowed_domains=("site.test",))
    await pool.set_egress(slot, "one", policy)
    assert _seen(await within(slot.netns_fd, get, OTHER_SITE, "anything.test")) == OTHER_SITE
    assert _seen(await within(slot.netns_fd, tls, OTHER_SITE, None)) == OTHER_SITE
    assert (await within(slot.netns_fd, tcp, OTHER_SITE, PLAIN_PORT)).startswith("hello")
    assert _seen(await within(slot.netns_fd, get, OTHER_SITE, "site.test")) == SITE, "a name beats an address"


async def test_every_request_of_a_connection_asks_for_the_same_name(slot: Slot) -> None:
    one = b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"
    body = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    other = b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n"
    answers = await within(slot.netns_fd, raw_http, ELSEWHERE, one, body, chunked, one)
    assert [(_seen(answer), isinstance(answer, dict) and answer["length"]) for answer in answers] == [
        (SITE, 0), (SITE, 5), (SITE, 5), (SITE, 0),
    ]  # fmt: skip
    assert [_seen(answer) for answer in await within(slot.netns_fd, raw_http, ELSEWHERE, one, other)] == [SITE, BROKEN]
    also_allowed = other.replace(b"other.test", b"a.wild.test")
    assert [_seen(answer) for answer in await within(slot.netns_fd, raw_http, ELSEWHERE, one, also_allowed)] == [SITE, BROKEN]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: other.test\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: site.test\r\nHost: other.test\r\n\r\n",
        b"GET http://other.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : site.test\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: site.test\r\n\r\n",
        b"GET / HTTP/1.1\nHost: site.test\n\r\n\r\n",
        b"CONNECT other.test:443 HTTP/1.1\r\nHost: site.test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: +5\r\n\r\n" + SMUGGLED,
        b"GET / HTTP/1.1\r\nHost: site.test\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: site.test\r\nUpgrade: websocket\r\n\r\n" + SMUGGLED,
        b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n" + SMUGGLED,
    ],
)
async def test_requests_that_servers_may_read_in_two_ways_break_the_connection(slot: Slot, request_bytes: bytes) -> None:
    answers = await within(slot.netns_fd, raw_http, ELSEWHERE, request_bytes)
    assert answers == [BROKEN]


async def test_absolute_targets_and_websockets_of_the_allowed_name_work(slot: Slot) -> None:
    absolute = b"GET http://site.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n"
    assert [_seen(answer) for answer in await within(slot.netns_fd, raw_http, ELSEWHERE, absolute)] == [SITE]
    upgrade = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert await within(slot.netns_fd, raw_http, ELSEWHERE, upgrade) == ["switched"]


async def test_nobody_talks_to_the_proxy_itself(pool: SlotPool, slot: Slot) -> None:
    address = pool._plan.resolver_ip
    stranger = await pool.acquire()
    for namespace in (slot.netns_fd, stranger.netns_fd):
        assert await within(namespace, tcp, address, 1054, 0.5) == "timeout"
    await pool.set_egress(stranger, "two", EgressPolicy(allowed_cidrs=("0.0.0.0/0",), allowed_domains=("*",)))
    assert await within(stranger.netns_fd, tcp, address, 1054, 0.5) == "timeout"
    await asyncio.to_thread(_from_the_node, address)


def _from_the_node(address: str) -> None:
    assert tcp(address, 1054, 0.5) != ""


def _ask_after(channel: int) -> object:
    with socket.socket(fileno=channel) as told, socket.create_connection((ELSEWHERE, 80), timeout=3) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
        connection.recv(1000)
        told.send(b"asked")
        told.recv(1)
        try:
            return connection.recv(1000)
        except OSError as error:
            return error.errno


@pytest.mark.parametrize("policy", [CLOSED, EgressPolicy(denied_cidrs=("0.0.0.0/0",), allowed_domains=("other.test",))])
async def test_a_stricter_policy_resets_open_connections_at_once(pool: SlotPool, slot: Slot, policy: EgressPolicy) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asking = asyncio.create_task(asyncio.to_thread(inside, slot.netns_fd, lambda: _ask_after(theirs.fileno())))
        assert await asyncio.to_thread(ours.recv, 20) == b"asked"
        await pool.set_egress(slot, "one", policy)
        assert pool._egress.flow_count <= 1
        ours.send(b"x")
        assert await asking == 104
    assert pool._egress.flow_count == 0


async def test_a_looser_policy_keeps_open_connections_and_lets_new_ones_out_directly(pool: SlotPool, slot: Slot) -> None:
    one = b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"
    asking = asyncio.create_task(within(slot.netns_fd, _slowly, ELSEWHERE, one))
    async with asyncio.timeout(5):
        while not any(pool._egress._flows[slot.ip].values()):  # judged, that is: one that is not would be by the new policy
            await asyncio.sleep(0.01)
    await pool.set_egress(slot, "one", OPEN)
    assert await asking == [SITE, SITE]
    assert (await within(slot.netns_fd, tcp, OTHER_SITE, PLAIN_PORT)).startswith("hello")


def _slowly(address: str, request: bytes) -> list[object]:
    import json

    seen: list[object] = []
    with socket.create_connection((address, 80), timeout=3) as connection:
        for _ in range(2):
            connection.sendall(request)
            seen.append(json.loads(connection.recv(1000).partition(b"\r\n\r\n")[2])["address"])
            time.sleep(0.5)
    return seen


async def test_a_slot_used_again_has_nothing_of_its_former_tenant(pool: SlotPool, slot: Slot) -> None:
    await pool.release(slot)
    async with asyncio.timeout(20):
        while slot not in pool._free:
            await asyncio.sleep(0.02)
    assert slot.ip not in pool._egress._tenants
    assert (await within(slot.netns_fd, tcp, OTHER_SITE, PLAIN_PORT)).startswith("hello")
    assert _seen(await within(slot.netns_fd, get, OTHER_SITE, "other.test")) == OTHER_SITE


def _echoed(address: str, request: bytes, size: int) -> int:
    """Bytes that come back through an upgraded connection."""
    import threading

    with socket.create_connection((address, 80), timeout=20) as connection:
        connection.sendall(request)
        stream = connection.makefile("rb")
        while stream.readline() != b"\r\n":
            pass

        def send() -> None:
            piece = b"x" * 65536
            for _ in range(size // len(piece)):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        count = 0
        while data := stream.read1(1 << 20):
            count += len(data)
        sender.join()
        return count


async def test_much_data_both_ways_and_an_end_of_each_direction(slot: Slot) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: site.test\r\nUpgrade: websocket\r\n\r\n"
    assert await within(slot.netns_fd, _echoed, ELSEWHERE, upgrade, 32 << 20) == 32 << 20


def _hold(address: str, count: int, host: bytes) -> int:
    """How many of `count` connections are alive at the same time."""
    connections = []
    alive = 0
    try:
        for _ in range(count):
            try:
                connection = socket.create_connection((address, 80), timeout=5)
                connections.append(connection)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                alive += bool(connection.recv(1000))
            except OSError:
                continue
        return alive
    finally:
        for connection in connections:
            connection.close()


async def test_connections_of_one_sandbox_are_limited_and_of_others_not_less(pool: SlotPool, slot: Slot) -> None:
    other = await pool.acquire()
    await pool.set_egress(other, "two", NAMES_ONLY)
    object.__setattr__(pool._egress._settings, "egress_slot_limit", 20)
    assert await within(slot.netns_fd, _hold, ELSEWHERE, 30, b"site.test") == 20
    assert await within(other.netns_fd, _hold, ELSEWHERE, 5, b"site.test") == 5
