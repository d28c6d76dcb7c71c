"""sdk-latest §1.6, `network.httpsPorts`: ports whose service speaks TLS; the proxy encrypts again without verifying, ALPN http/1.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from pathlib import Path

import pytest
import websockets

from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from tests.integration.proxy.certificates import Authority
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, Endless, Firehose, client, get, origin, read_answer, read_head, reset_on_close, route_to


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A service's certificate that nobody has a reason to trust."""
    return Authority(tmp_path).server_context("nobody.example")


def _serve(routes: RouteTable, port: int) -> None:
    """Port 8443 of the sandbox speaks TLS, and so does everything behind `port`."""
    routes.add(route_to(real_port=port, https_ports={8443}))


async def test_a_service_that_speaks_tls_is_reached_whatever_its_certificate(
    proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext
) -> None:
    """Requests, bodies both ways, one after the other; ALPN is http/1.1 even where the service prefers HTTP/2."""
    seen: list[str | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await read_head(reader)
        body = await reader.readexactly(300_000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    body = bytes(range(250)) * 1200
    async with origin(echo, context) as port, client(proxy.port) as browser:
        _serve(routes, port)
        for _ in range(3):
            answer = await browser.ask(get(8443, method="PUT", extra="Content-Length: 300000\r\n") + body)
            assert (answer.status, answer.body) == (200, body)
    assert set(seen) == {"http/1.1"}


async def test_other_ports_stay_plain(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """Only the listed ports are encrypted: a TLS service elsewhere is a closed port, and a plain one on a listed port, too."""

    async def plain_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("nobody gets through the handshake")

    async with origin(plain_server) as port, client(proxy.port) as browser:
        _serve(routes, port)
        assert (await browser.ask(get(8080))).body == b"plain"
        answer = await browser.ask(get(8443))
        assert (answer.status, json.loads(answer.body)["message"]) == (502, "The sandbox is running but port is not open")
    async with origin(never, context) as port, client(proxy.port) as browser:
        _serve(routes, port)
        assert (await browser.ask(get(8080))).status == 502


async def test_websockets_through_a_port_that_speaks_tls(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """Upgrades work there as anywhere (data-plane §7.3)."""

    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, ssl=context) as server:
        _serve(routes, next(iter(server.sockets)).getsockname()[1])
        uri = f"ws://8443-{SANDBOX}.localhost:{proxy.port}/chat"
        async with websockets.connect(uri, host="127.0.0.1", port=proxy.port, max_size=None, compression=None) as connection:
            for message in ("hello", b"\x00" * 1_000_000, "bye"):
                await connection.send(message)
                assert await connection.recv() == message
        assert connection.close_code == 1000


async def test_a_tunnel_that_the_service_ends_is_not_a_cut(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """TLS knows no half-close: the service's end is the tunnel's, and orderly."""

    async def switcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + b"x" * 200_000)
        await writer.drain()

    async with origin(switcher, context) as port, client(proxy.port) as tunnel:
        _serve(routes, port)
        await tunnel.send(get(8443, extra="Connection: Upgrade\r\nUpgrade: tcp\r\n"))
        await read_head(tunnel.reader)
        assert await tunnel.reader.read() == b"x" * 200_000


async def test_a_client_that_stops_sending_still_gets_its_answer(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """The half-close that cannot be passed on is not made a full one."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await writer.drain()

    async with origin(slow, context) as port, client(proxy.port) as netcat:
        _serve(routes, port)
        await netcat.send(get(8443))
        netcat.writer.write_eof()
        assert (await read_answer(netcat.reader)).body == b"late"


@pytest.mark.parametrize(
    ("framing", "hard", "is_cut"),
    [
        (b"Transfer-Encoding: chunked", True, True),
        (b"Content-Length: 100", False, True),
        (b"X-Open: ended", False, False),
        (b"X-Open: ended", True, True),
    ],
)
async def test_cuts_and_ends_are_told_apart(
    proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext, framing: bytes, hard: bool, is_cut: bool
) -> None:
    """§7.3: an answer that breaks off is a cut for the client; one of unknown length ends with its connection."""

    async def fragile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        if hard:
            reset_on_close(writer)
            writer.transport.abort()

    async with origin(fragile, context) as port, client(proxy.port) as browser:
        _serve(routes, port)
        await browser.send(get(8443))
        received = b""
        cut = False
        try:
            while data := await browser.reader.read(65536):
                received += data
        except ConnectionResetError:
            cut = True
    assert received.endswith(b"5\r\nhello\r\n")
    assert cut == is_cut


async def test_a_slow_reader_holds_a_tls_service_back(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """§7.3: flow control in both directions, encrypted or not."""
    firehose = Firehose(64 * 1024 * 1024)
    async with origin(firehose, context) as port, client(proxy.port) as stalled:
        _serve(routes, port)
        stalled.reader._limit = 65536  # type: ignore[attr-defined]  # asyncio stops reading at twice this
        await stalled.send(get(8443))
        before = -1
        while firehose.sent != before:
            before = firehose.sent
            await asyncio.sleep(0.3)
        assert firehose.sent < firehose.total // 2
        await read_head(stalled.reader)
        remaining = firehose.total
        while remaining:
            remaining -= len(await stalled.reader.read(1024 * 1024))
    assert firehose.sent == firehose.total


async def test_removal_cuts_encrypted_streams_too(proxy: ProxyServer, routes: RouteTable, context: ssl.SSLContext) -> None:
    """§6.3."""

    endless = Endless()
    async with origin(endless, context) as port, client(proxy.port) as watcher:
        _serve(routes, port)
        await watcher.send(get(8443))
        await read_head(watcher.reader)
        assert await watcher.reader.readexactly(5) == b"hello"
        routes.remove(SANDBOX)
        with pytest.raises(ConnectionResetError):
            await watcher.reader.read()


async def test_handshakes_that_fail_or_never_end_leave_no_socket(proxy: ProxyServer, routes: RouteTable) -> None:
    """Clients that leave while a silent service is being shaken hands with."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
            while await reader.read(4096):
                pass

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no TLS here\r\n")

    async with origin(silent) as port, origin(rude) as other:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            _serve(routes, port)
            async with client(proxy.port) as visitor:
                await visitor.send(get(8443))
                await asyncio.sleep(0.01)
        _serve(routes, other)
        async with client(proxy.port) as visitor:
            assert (await visitor.ask(get(8443))).status == 502
        async with asyncio.timeout(10):
            while len(os.listdir("/proc/self/fd")) > before + 2:  # a kept connection between the hops
                await asyncio.sleep(0.02)
