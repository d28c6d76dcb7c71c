"""Clients that lie about where a request ends, that trickle, that flood."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sandbank.domain.errors import NotFoundError
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import LocalRoute, RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, client, get, origin, read_answer, read_head


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


_HOST = f"80-{SANDBOX}.localhost"

SMUGGLING = {
    "two lengths": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "the same length twice": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "a list of lengths": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 5, 5\r\n\r\n",
    "signed length": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: +5\r\n\r\n",
    "hexadecimal length": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 0x5\r\n\r\n",
    "empty length": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length:\r\n\r\n",
    "length and coding": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding twice": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "unknown coding": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding list": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "vertical tab in coding": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": f"POST / HTTP/1.0\r\nHost: {_HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length : 5\r\n\r\n",
    "folded line": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nX: 1\r\n Content-Length: 5\r\n\r\n",
    "folded first line": f"POST / HTTP/1.1\r\n X: 1\r\nHost: {_HOST}\r\n\r\n",
    "bare line feed": f"GET / HTTP/1.1\r\nHost: {_HOST}\nX: 1\r\n\r\n",
    "only line feeds": f"GET / HTTP/1.1\nHost: {_HOST}\n\n",
    "bare carriage return": f"GET / HTTP/1.1\r\nHost: {_HOST}\rX: 1\r\n\r\n",
    "null byte": f"GET / HTTP/1.1\r\nHost: {_HOST}\r\nX: a\0b\r\n\r\n",
    "header without colon": f"GET / HTTP/1.1\r\nHost: {_HOST}\r\nnonsense\r\n\r\n",
    "empty name": f"GET / HTTP/1.1\r\nHost: {_HOST}\r\n: x\r\n\r\n",
    "bracket in name": f"GET / HTTP/1.1\r\nHost: {_HOST}\r\n[x]: x\r\n\r\n",
    "two hosts": f"GET / HTTP/1.1\r\nHost: {_HOST}\r\nHost: other\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "slash in host": "GET / HTTP/1.1\r\nHost: a/b.c\r\n\r\n",
    "another absolute target": f"GET http://other/ HTTP/1.1\r\nHost: {_HOST}\r\n\r\n",
    "tab in request line": f"GET /\tx HTTP/1.1\r\nHost: {_HOST}\r\n\r\n",
    "two spaces": f"GET  / HTTP/1.1\r\nHost: {_HOST}\r\n\r\n",
    "fragment": f"GET /a#b HTTP/1.1\r\nHost: {_HOST}\r\n\r\n",
    "relative target": f"GET a HTTP/1.1\r\nHost: {_HOST}\r\n\r\n",
    "handshake of TLS": "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    "connection removes the length": f"POST / HTTP/1.1\r\nHost: {_HOST}\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_requests_are_refused_and_their_connection_ends(proxy: ProxyServer, name: str) -> None:
    async with client(proxy.port) as attacker:
        answer = await attacker.ask(SMUGGLING[name].encode("latin-1") + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert await attacker.reader.read() == b""


@pytest.mark.parametrize(
    "body",
    [
        b"5;x\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"\r\n",
        b"-1\r\n",
        b"5\nhello\r\n",
    ],
)
async def test_broken_chunks_never_reach_the_end_of_the_origins_request(proxy: ProxyServer, body: bytes) -> None:
    ended = asyncio.Event()
    seen = bytearray()

    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                seen.extend(data)
        finally:
            ended.set()

    async with origin(careful) as port, client(proxy.port) as attacker:
        await attacker.send(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n"))
        while not seen:
            await asyncio.sleep(0.01)
        assert (await attacker.ask(body + b"GET /smuggled HTTP/1.1\r\n\r\n")).status == 400
        await ended.wait()
    assert b"smuggled" not in seen


async def test_heads_are_bounded(proxy: ProxyServer) -> None:
    async with client(proxy.port) as attacker:
        assert (await attacker.ask(get(80, extra="X: " + "y" * 70000 + "\r\n"))).status == 431
    async with client(proxy.port) as attacker:
        assert (await attacker.ask(get(80, extra="X: y\r\n" * 201))).status == 431
    async with client(proxy.port) as attacker:
        await attacker.send(b"GET / HTTP/1.1\r\nX: ")

        async def flood() -> None:
            for _ in range(1000):
                await attacker.send(b"y" * 65536)
                await asyncio.sleep(0)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await flood()


async def test_other_protocols_are_refused(proxy: ProxyServer) -> None:
    for opening, status in (
        (b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 400),
        (b"\x16\x03\x01\n\n", 400),
    ):
        async with client(proxy.port) as stranger:
            assert (await stranger.ask(opening)).status == status


async def test_a_trickled_head_times_out_and_idle_connections_end(routes: RouteTable) -> None:
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=ProxyLimits(header_timeout_seconds=0.3, idle_timeout_seconds=1.5))
    await server.start()

    async def slow_but_fine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(4)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(slow_but_fine) as port, client(server.port) as trickler, client(server.port) as idler, client(server.port) as waiter:
        await waiter.send(get(port))
        await trickler.send(b"GET / HTT")
        assert (await read_answer(trickler.reader)).status == 408
        assert await idler.reader.read() == b""
        assert (await read_answer(waiter.reader)).status == 204  # no limit on how long an answer takes
    await server.stop()


async def test_a_head_that_was_begun_ahead_times_out_too(routes: RouteTable) -> None:
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=ProxyLimits(header_timeout_seconds=0.3))
    await server.start()
    async with client(server.port) as trickler:
        answer = await trickler.ask(get(80, sandbox_id="iunknown") + b"GET / HTT")
        assert answer.status == 502
        assert (await read_answer(trickler.reader)).status == 408
    await server.stop()


async def test_a_dial_that_fails_for_our_own_fault_is_still_answered(proxy: ProxyServer, routes: RouteTable) -> None:
    def broken(port: int) -> socket.socket:
        raise RuntimeError("no such thing")

    routes.add(LocalRoute(SANDBOX, "execution-2", broken, None, None))
    async with client(proxy.port) as browser:
        assert (await browser.ask(get(80))).status == 502


async def test_a_sandbox_that_its_driver_does_not_know_is_not_found(proxy: ProxyServer, routes: RouteTable) -> None:
    def unknown(port: int) -> socket.socket:
        raise NotFoundError("sandbox not found")

    routes.add(LocalRoute(SANDBOX, "execution-2", unknown, None, None))
    async with client(proxy.port) as browser:
        assert b"was not found" in (await browser.ask(get(80))).body


async def test_too_many_connections_are_turned_away(routes: RouteTable) -> None:
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=ProxyLimits(max_connections=1))
    await server.start()
    async with client(server.port) as first:
        assert (await first.ask(get(80, sandbox_id="iunknown"))).status == 502
        async with client(server.port) as second:
            assert (await read_answer(second.reader)).status == 503
    await server.stop()


async def test_what_an_idle_origin_says_meets_no_request(proxy: ProxyServer) -> None:
    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrueHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse")
        await writer.drain()
        await reader.read()

    async with origin(talkative) as port, client(proxy.port) as browser:
        for _ in range(100):  # past the rate at which connections are kept
            assert (await browser.ask(get(port))).body == b"true"
