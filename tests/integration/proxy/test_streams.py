"""Streams: events, uploads, tunnels, slow peers, abrupt ends."""

from __future__ import annotations

import asyncio
import time

import pytest
import websockets

from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, Endless, Firehose, client, get, origin, read_answer, read_head, reset_on_close


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


async def test_events_arrive_one_by_one(proxy: ProxyServer) -> None:
    go_on = asyncio.Event()

    async def ticker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
            await go_on.wait()
            go_on.clear()
        writer.write(b"0\r\n\r\n")

    async with origin(ticker) as port, client(proxy.port) as browser:
        await browser.send(get(port))
        await read_head(browser.reader)
        for number in range(3):
            assert await browser.reader.readexactly(14) == b"9\r\ndata: %d\n\n\r\n" % number  # before the next one is even made
            go_on.set()
        assert await browser.reader.readexactly(5) == b"0\r\n\r\n"


async def test_full_duplex_echo_of_a_chunked_upload(proxy: ProxyServer) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not (data := await reader.read(65536)).endswith(b"0\r\n\r\n"):
            writer.write(data)
        writer.write(data)

    async with origin(echo) as port, client(proxy.port) as sdk:
        await sdk.send(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n"))
        await read_head(sdk.reader)  # the answer begins before the body does
        for number in range(5):
            await sdk.send(b"1\r\n%d\r\n" % number)
            assert await sdk.reader.readexactly(6) == b"1\r\n%d\r\n" % number
        await sdk.send(b"0\r\n\r\n")
        assert await sdk.reader.readexactly(5) == b"0\r\n\r\n"


async def test_an_answer_may_end_before_the_upload_does(proxy: ProxyServer) -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        await reader.read()

    async with origin(hasty) as port, client(proxy.port) as sdk:
        answer = await sdk.ask(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n")
        assert answer.body == b"early"
        await sdk.send(b"3\r\ndef\r\n0\r\n\r\n")
        assert (await sdk.ask(get(port))).body == b"early"  # the rest of the upload was thrown away, the connection was not


async def test_nothing_of_an_upload_waits_in_the_proxy(proxy: ProxyServer) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def listener(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        received = b""
        while len(received) < 10:
            piece = await reader.read(100)
            received += piece
            arrived.put_nowait(piece)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(listener) as port, client(proxy.port) as sdk:
        await sdk.send(get(port, method="PUT", extra="Content-Length: 10\r\n"))
        for piece in (b"hello", b"there"):
            await sdk.send(piece)
            assert await arrived.get() == piece
        assert (await read_answer(sdk.reader)).status == 204


async def test_websocket_echo_and_close(proxy: ProxyServer) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uri = f"ws://{port}-{SANDBOX}.localhost:{proxy.port}/chat"
        async with websockets.connect(uri, host="127.0.0.1", port=proxy.port, max_size=None, compression=None) as connection:
            for message in ("hello", b"\x00" * 3_000_000, "bye"):
                await connection.send(message)
                assert await connection.recv() == message
        assert connection.close_code == 1000


async def test_any_upgrade_with_bytes_sent_ahead_and_half_close(proxy: ProxyServer) -> None:
    async def switcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"Connection: Upgrade\r\nUpgrade: tcp\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst ")
        writer.write(b"echo " + await reader.read())

    async with origin(switcher) as port, client(proxy.port) as docker:
        await docker.send(get(port, extra="Connection: Upgrade\r\nUpgrade: tcp\r\n") + b"ahead")
        head = await read_head(docker.reader)
        assert b"Connection: Upgrade\r\nUpgrade: tcp\r\n" in head
        await docker.send(b" later")
        docker.writer.write_eof()
        assert await docker.reader.read() == b"first echo ahead later"


async def test_an_upgrade_that_is_declined_is_an_ordinary_answer(proxy: ProxyServer) -> None:
    async def plain_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")

    async with origin(plain_server) as port, client(proxy.port) as browser:
        assert (await browser.ask(get(port, extra="Connection: upgrade\r\nUpgrade: websocket\r\n"))).body == b"no"
        assert (
            await browser.ask(get(port, extra="Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"))
        ).body == b"no"


async def test_switching_protocols_unasked_is_no_answer(proxy: ProxyServer) -> None:
    async def pushy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with origin(pushy) as port, client(proxy.port) as browser:
        assert (await browser.ask(get(port))).status == 502


async def _cut_off(proxy: ProxyServer, port: int) -> tuple[bytes, BaseException | None]:
    async with client(proxy.port) as browser:
        await browser.send(get(port))
        received = b""
        try:
            while data := await browser.reader.read(65536):
                received += data
        except ConnectionResetError as error:
            return received, error
        return received, None


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 100", b"X-Open: ended"])
@pytest.mark.parametrize("hard", [True, False])
async def test_an_origin_that_breaks_off_is_seen_as_a_cut(proxy: ProxyServer, framing: bytes, hard: bool) -> None:
    async def fragile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        if hard:
            reset_on_close(writer)

    async with origin(fragile) as port:
        received, error = await _cut_off(proxy, port)
    assert received.endswith(b"5\r\nhello\r\n")
    ends_in_order = framing.startswith(b"X-Open") and not hard
    assert (error is None) == ends_in_order


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
    ],
)
async def test_an_origin_without_a_usable_answer_is_a_closed_port(proxy: ProxyServer, answer: bytes) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        await writer.drain()

    async with origin(mute) as port, client(proxy.port) as browser:
        page = await browser.ask(get(port))
    assert page.status == 502
    assert page.body == b'{"sandboxId":"%s","message":"The sandbox is running but port is not open","port":%d,"code":502}' % (
        SANDBOX.encode(),
        port,
    )


async def test_removal_cuts_streams_after_the_sandbox_became_unroutable(proxy: ProxyServer, routes: RouteTable) -> None:
    endless = Endless()
    async with origin(endless) as port, client(proxy.port) as watcher, client(proxy.port) as prober:
        await watcher.send(get(port))
        await read_head(watcher.reader)
        assert await watcher.reader.readexactly(5) == b"hello"
        routes.remove(SANDBOX)
        with pytest.raises(ConnectionResetError):
            await watcher.reader.read()
        answer = await prober.ask(get(port))
        assert (answer.status, answer.body) == (
            502,
            b'{"sandboxId":"%s","message":"The sandbox was not found","code":502}' % SANDBOX.encode(),
        )
        await endless.left.wait()


async def test_removal_while_a_port_is_being_tried(proxy: ProxyServer, routes: RouteTable) -> None:
    async with client(proxy.port) as browser:
        await browser.send(get(1))
        await asyncio.sleep(0.15)
        routes.remove(SANDBOX)
        answer = await read_answer(browser.reader)
    assert (answer.status, b"was not found" in answer.body) == (502, True)


async def test_removal_before_the_head_of_an_answer(proxy: ProxyServer, routes: RouteTable) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.read()

    async with origin(slow) as port, client(proxy.port) as browser:
        await browser.send(get(port))
        await asyncio.sleep(0.05)
        routes.remove(SANDBOX)
        answer = await read_answer(browser.reader)
    assert (answer.status, b"was not found" in answer.body) == (502, True)


async def test_a_client_that_leaves_is_noticed_by_the_origin(proxy: ProxyServer) -> None:
    endless = Endless()
    async with origin(endless) as port:
        async with client(proxy.port) as browser:
            await browser.send(get(port))
            await read_head(browser.reader)
        await asyncio.wait_for(endless.left.wait(), 10)
    while proxy.connection_count:
        await asyncio.sleep(0.01)


async def test_a_port_that_opens_late_is_reached(proxy: ProxyServer) -> None:
    async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with origin(ok) as port:
        pass  # the port is known and closed now
    async with client(proxy.port) as browser:
        started = time.monotonic()
        await browser.send(get(port))
        await asyncio.sleep(0.2)
        server = await asyncio.start_server(ok, "127.0.0.1", port)
        assert (await read_answer(browser.reader)).status == 204
        assert time.monotonic() - started < 30
        server.close()


async def test_a_stalled_reader_holds_the_origin_back(proxy: ProxyServer) -> None:
    firehose = Firehose(200 * 1024 * 1024)
    async with origin(firehose) as port, client(proxy.port) as stalled:
        stalled.reader._limit = 65536  # type: ignore[attr-defined]  # asyncio stops reading at twice this
        await stalled.send(get(port))
        before = -1
        while firehose.sent != before:
            before = firehose.sent
            await asyncio.sleep(0.3)
        assert firehose.sent < 32 * 1024 * 1024  # what sockets hold; the proxy itself holds less than a megabyte
        held = [c.transport.get_write_buffer_size() for c in proxy._connections]
        assert len(held) == 1
        assert held[0] <= 1024 * 1024
        await read_head(stalled.reader)
        remaining = firehose.total
        while remaining:
            remaining -= len(await stalled.reader.read(1024 * 1024))
    assert firehose.sent == firehose.total


async def test_a_slow_origin_holds_the_client_back(proxy: ProxyServer) -> None:
    total = 100 * 1024 * 1024
    go_on = asyncio.Event()

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        remaining = total
        while remaining:
            remaining -= len(await reader.read(1024 * 1024))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(lazy) as port, client(proxy.port) as uploader:
        await uploader.send(get(port, method="PUT", extra=f"Content-Length: {total}\r\n"))
        sent = 0

        async def upload() -> None:
            nonlocal sent
            piece = bytes(1024 * 1024)
            while sent < total:
                await uploader.send(piece)
                sent += len(piece)

        task = asyncio.ensure_future(upload())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 32 * 1024 * 1024
        go_on.set()
        await task
        assert (await read_answer(uploader.reader)).status == 204


async def test_an_upload_to_a_port_that_opens_late_waits_in_the_client(proxy: ProxyServer) -> None:
    async with client(proxy.port) as uploader:
        await uploader.send(get(1, method="PUT", extra="Content-Length: 50000000\r\n"))
        uploader.writer.write(bytes(50_000_000))
        await asyncio.sleep(0.5)
        assert uploader.writer.transport.get_write_buffer_size() > 30_000_000
        assert (await read_answer(uploader.reader)).status == 502
