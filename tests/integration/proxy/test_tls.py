"""TLS on the port that also takes cleartext (contract sdk-latest §2.2, data-plane §6.3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets

from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.local import LocalResolver
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from tests.integration.proxy.certificates import Authority
from tests.integration.proxy.wire import SANDBOX, Client, Endless, client, get, origin, read_answer, read_head

NAME = f"80-{SANDBOX}.sbx.localhost"  # OpenSSL takes no wildcard directly below a top-level name


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Certificates:
    """What the server is told to offer; counts how often it asked."""

    def __init__(self, authority: Authority) -> None:
        self.current = authority.server_context("*.sbx.localhost")
        self.asked = 0

    def __call__(self) -> ssl.SSLContext:
        self.asked += 1
        return self.current


@pytest.fixture
def certificates(authority: Authority) -> Certificates:
    return Certificates(authority)


@pytest.fixture
def limits() -> ProxyLimits:
    return ProxyLimits(header_timeout_seconds=1, linger_seconds=0.5)


@pytest.fixture
async def proxy(routes: RouteTable, limits: ProxyLimits, certificates: Certificates) -> AsyncIterator[ProxyServer]:
    resolver = LocalResolver(routes, first_hop=True)
    server = ProxyServer("both", resolver, host="127.0.0.1", port=0, limits=limits, tls=certificates)
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def tls_client(port: int, authority: Authority, *alpn: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client_context(*alpn), server_hostname=NAME)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def gone(connection: Client) -> None:
    """Return when the peer has ended the connection, in order or not."""
    with contextlib.suppress(ConnectionResetError):
        await connection.reader.read()


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await read_head(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


async def test_one_port_speaks_cleartext_and_tls(proxy: ProxyServer, authority: Authority) -> None:
    async with origin(hello) as port, client(proxy.port) as plain, tls_client(proxy.port, authority, "http/1.1") as secure:
        for _ in range(3):
            assert (await plain.ask(get(port))).body == b"hello"
            assert (await secure.ask(get(port))).body == b"hello"
        assert proxy.connection_count == 2


async def test_a_renewed_certificate_is_taken_without_a_restart(
    proxy: ProxyServer, authority: Authority, certificates: Certificates
) -> None:
    async def offered() -> bytes | None:
        async with tls_client(proxy.port, authority) as secure:
            tls: ssl.SSLObject = secure.writer.get_extra_info("ssl_object")
            return tls.getpeercert(binary_form=True)

    first = await offered()
    assert await offered() == first
    certificates.current = authority.server_context("*.sbx.localhost")
    assert await offered() != first
    assert certificates.asked == 3


async def test_a_cut_stream_over_tls_is_a_reset_without_goodbye(proxy: ProxyServer, authority: Authority, routes: RouteTable) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Open: ended\r\n\r\nhello")
        await reader.read()

    async with origin(endless) as port, tls_client(proxy.port, authority) as secure:
        await secure.send(get(port))
        await read_head(secure.reader)
        assert await secure.reader.readexactly(5) == b"hello"
        routes.remove(SANDBOX)
        with pytest.raises(ConnectionResetError):  # an orderly end of TLS would end this body correctly
            await secure.reader.read()


async def test_a_client_that_leaves_over_tls_is_noticed_by_the_origin(proxy: ProxyServer, authority: Authority) -> None:
    endless = Endless()
    async with origin(endless) as port:
        async with tls_client(proxy.port, authority) as secure:
            await secure.send(get(port))
            await read_head(secure.reader)
        await asyncio.wait_for(endless.left.wait(), 10)
    while proxy.connection_count:
        await asyncio.sleep(0.01)


async def test_an_answer_that_ends_the_connection_arrives_whole_at_a_slow_client(proxy: ProxyServer, authority: Authority) -> None:
    size = 3_000_000

    async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size))
        await writer.drain()

    async with origin(big) as port, tls_client(proxy.port, authority) as secure:
        secure.reader._limit = 65536  # type: ignore[attr-defined]  # asyncio stops reading at twice this
        await secure.send(get(port, extra="Connection: close\r\n"))
        await read_head(secure.reader)
        received = 0
        while data := await secure.reader.read(65536):
            received += len(data)
            await asyncio.sleep(0.05)  # longer in all than the connection lingers
        assert received == size


async def test_a_tunnel_over_tls_ends_when_its_origin_does(proxy: ProxyServer, authority: Authority) -> None:
    async def switcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        writer.write(b"echo " + await reader.readexactly(5))
        writer.write_eof()
        await reader.read()

    async with origin(switcher) as port, tls_client(proxy.port, authority) as secure:
        await secure.send(get(port, extra="Connection: Upgrade\r\nUpgrade: tcp\r\n"))
        await read_head(secure.reader)
        await secure.send(b"hello")
        assert await secure.reader.read() == b"echo hello"


async def test_the_silent_and_the_slow_to_shake_hands_fall_to_deadlines(
    routes: RouteTable, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    limits = ProxyLimits(header_timeout_seconds=0.3, idle_timeout_seconds=0.6, max_connections=3)
    resolver = LocalResolver(routes, first_hop=True)
    server = ProxyServer("both", resolver, host="127.0.0.1", port=0, limits=limits, tls=certificates)
    await server.start()
    with caplog.at_level(logging.WARNING):
        async with client(server.port) as silent, client(server.port) as dribbler, client(server.port) as liar:
            await dribbler.send(b"\x16\x03\x01\x02\x00\x01\x00")
            await liar.send(b"\x16this is no handshake at all")
            async with client(server.port) as surplus:
                await gone(surplus)  # four are one too many, before any of them has said a word of HTTP
            for one in (silent, dribbler, liar):
                await gone(one)
        async with client(server.port) as late:
            assert (await late.ask(get(80, sandbox_id="iunknown"))).status == 502
    assert caplog.records == []
    await server.stop()


async def test_stopping_cuts_handshakes_and_lets_requests_end(routes: RouteTable, certificates: Certificates, authority: Authority) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = ProxyServer("both", LocalResolver(routes, first_hop=True), host="127.0.0.1", port=0, tls=certificates)
    await server.start()
    async with origin(slow) as port, tls_client(server.port, authority) as busy, tls_client(server.port, authority) as idle:
        async with client(server.port) as dribbler:
            await dribbler.send(b"\x16\x03")
            await busy.send(get(port))
            while server.connection_count < 2:
                await asyncio.sleep(0.01)
            stopping = asyncio.ensure_future(server.stop())
            assert await idle.reader.read() == b""
            await gone(dribbler)
        go_on.set()
        assert (await read_answer(busy.reader)).body == b"ok"
        await busy.reader.read()
        await stopping


async def test_websockets_over_tls(proxy: ProxyServer, authority: Authority) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uri = f"wss://{port}-{SANDBOX}.sbx.localhost:{proxy.port}/chat"
        trusted = authority.client_context("http/1.1")
        async with websockets.connect(uri, host="127.0.0.1", port=proxy.port, ssl=trusted, max_size=None) as connection:
            for message in ("hello", b"\x00" * 3_000_000, "bye"):
                await connection.send(message)
                assert await connection.recv() == message
        assert connection.close_code == 1000
