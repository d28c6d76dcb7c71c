"""Outbound TCP through a SOCKS5 proxy of the sandbox's owner (rest-api §10.1 `egressProxy`, RFC 1928, RFC 1929)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from sandbank.runtime.driver import CLOSED, EgressPolicy, EgressProxy, ProxyTls
from sandbank.runtime.network.pool import SlotPool
from sandbank.runtime.network.slot import Slot
from tests.integration.network.clients import BROKEN, get, talk, tls
from tests.integration.network.internet import Internet
from tests.integration.network.name_server import NameServer, query
from tests.integration.network.origin import OTHER_SITE, PASSWORD, PLAIN_PORT, SITE, SOCKS, SOCKS_PORT, SOCKS_TLS_PORT, USER
from tests.integration.network.traffic import Listener, tcp, udp, within

PROXY = EgressProxy(SOCKS, SOCKS_PORT, USER.decode(), PASSWORD.decode())
THROUGH = EgressPolicy(proxy=PROXY)


@pytest.fixture
async def slot(pool: SlotPool, internet: Internet) -> Slot:
    return await pool.acquire()


async def _hello(slot: Slot) -> str:
    answer = await within(slot.netns_fd, talk, OTHER_SITE, PLAIN_PORT, b"ping")
    return answer if isinstance(answer, str) else answer.decode()


async def test_all_tcp_goes_through_the_proxy_and_the_rest_as_ever(pool: SlotPool, slot: Slot, internet: Internet) -> None:
    await pool.set_egress(slot, "one", THROUGH)
    assert await _hello(slot) == f"hello from {OTHER_SITE} to 198.51.100.2\nping"
    assert internet.proxied() == [f"{OTHER_SITE}:{PLAIN_PORT}"]
    assert await within(slot.netns_fd, udp, "8.8.8.8", 53, query("a.test")) is not None
    assert await within(slot.netns_fd, udp, SITE, 443) == b"ping"


async def test_rules_come_before_the_proxy_and_names_are_resolved_by_it(pool: SlotPool, slot: Slot, internet: Internet) -> None:
    policy = EgressPolicy(denied_cidrs=("0.0.0.0/0",), allowed_domains=("far.test",), allowed_cidrs=(f"{OTHER_SITE}/32",), proxy=PROXY)
    await pool.set_egress(slot, "one", policy)
    assert await within(slot.netns_fd, get, SITE, "other.test") == BROKEN
    assert await within(slot.netns_fd, talk, SITE, PLAIN_PORT) in ("reset", "refused")
    assert isinstance(await within(slot.netns_fd, tls, "203.0.113.99", "far.test"), dict)
    assert await within(slot.netns_fd, get, "203.0.113.99", "far.test") != BROKEN
    assert (await _hello(slot)).startswith("hello")
    assert internet.proxied() == ["far.test:443", "far.test:80", f"{OTHER_SITE}:{PLAIN_PORT}"]


async def test_private_ranges_do_not_go_to_the_proxy_either(pool: SlotPool, slot: Slot, internet: Internet) -> None:
    await pool.set_egress(slot, "one", THROUGH)
    assert await within(slot.netns_fd, talk, "10.0.0.1", 80) == "timeout"
    assert internet.proxied() == []


@pytest.mark.parametrize(
    "proxy",
    [
        replace(PROXY, password="wrong"),
        replace(PROXY, username=None, password=None),
        replace(PROXY, port=PLAIN_PORT, host=SITE),
        replace(PROXY, port=9),
        replace(PROXY, host="inside.test"),
        replace(PROXY, host="198.51.100.1"),
    ],
)
async def test_what_the_proxy_does_not_grant_goes_nowhere(
    pool: SlotPool, slot: Slot, proxy: EgressProxy, name_server: NameServer, internet: Internet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name_server.zone["inside.test"] = ["127.0.0.1"]
    node = Listener(None, "198.51.100.1", SOCKS_PORT)
    try:
        await pool.set_egress(slot, "one", EgressPolicy(proxy=proxy))
        assert await _hello(slot) in ("reset", "refused")
        assert node.heard() == set()
    finally:
        node.end()
    assert PASSWORD.decode() not in caplog.text


async def test_a_proxy_by_name_and_in_tls_of_a_ca_of_its_own(
    pool: SlotPool, slot: Slot, internet: Internet, name_server: NameServer
) -> None:
    name_server.zone["proxy.test"] = [SOCKS]
    secure = replace(PROXY, host="proxy.test", port=SOCKS_TLS_PORT, tls=ProxyTls(ca_cert=internet.ca))
    await pool.set_egress(slot, "one", EgressPolicy(proxy=secure))
    # This proxy takes the end of one direction for the end of both, as many do: its reply may be cut short (sdk-latest, `tls`).
    assert (await _hello(slot)).startswith(f"hello from {OTHER_SITE} to 198.51.100.2\n")
    for wrong in (ProxyTls(), ProxyTls("else.test", internet.ca), ProxyTls(None, "-----BEGIN CERTIFICATE-----\nx\n")):
        await pool.set_egress(slot, "one", EgressPolicy(proxy=replace(secure, tls=wrong)))
        assert await _hello(slot) in ("reset", "refused")
    assert len(internet.proxied()) == 1
    async with asyncio.timeout(5):
        while pool._egress._tasks._tasks:  # nothing outlives the connections
            await asyncio.sleep(0.02)


async def test_a_tunnel_ends_with_its_connection_though_the_far_end_is_silent(
    pool: SlotPool, slot: Slot, internet: Internet, name_server: NameServer
) -> None:
    name_server.zone["proxy.test"] = [SOCKS]
    await pool.set_egress(
        slot, "one", EgressPolicy(proxy=replace(PROXY, host="proxy.test", port=SOCKS_TLS_PORT, tls=ProxyTls(ca_cert=internet.ca)))
    )
    assert (await within(slot.netns_fd, tcp, OTHER_SITE, PLAIN_PORT)).startswith("hello")
    await pool.set_egress(slot, "one", CLOSED)
    async with asyncio.timeout(5):
        while pool._egress._tasks._tasks:
            await asyncio.sleep(0.02)


def test_credentials_are_not_shown() -> None:
    assert PASSWORD.decode() not in repr(THROUGH)
