"""§7.3, and what it leaves open: programs in sandboxes that answer too early, too much, without end or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, Handler, client, get, origin, read_answer, read_head, reset_on_close, route_to


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


async def _is_closed_port(proxy: ProxyServer, handler: Handler) -> None:
    async with origin(handler) as port, client(proxy.port) as browser:
        await browser.send(get(port))
        async with asyncio.timeout(20):
            while (answer := await read_answer(browser.reader)).status < 200:
                pass
        assert (answer.status, json.loads(answer.body)["message"]) == (502, "The sandbox is running but port is not open")
        assert (await browser.ask(get(80, sandbox_id="iunknown"))).status == 502  # and the client's connection is as good as before


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Connection: close\r\n"])
async def test_a_server_that_answers_whoever_connects_is_understood(proxy: ProxyServer, framing: bytes, closes: bool) -> None:
    """As `nc -l < answer` does: the answer is there before the request."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nearly")
        if closes or b"close" in framing:
            writer.write_eof()
        await read_head(reader)
        with contextlib.suppress(OSError):
            await reader.read()

    async with origin(early) as port, client(proxy.port) as browser, asyncio.timeout(20):
        for _ in range(10):
            await browser.send(get(port))
            answer = await read_answer(browser.reader)
            assert (answer.status, answer.body) == (200, b"early")
            if answer.header("connection") == "close":
                break


@pytest.mark.parametrize("hard", [True, False])
async def test_a_server_that_hangs_up_at_once_is_a_closed_port(proxy: ProxyServer, hard: bool) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hard:
            reset_on_close(writer)

    await _is_closed_port(proxy, hang_up)


async def test_an_endless_row_of_interim_answers_is_no_answer(proxy: ProxyServer) -> None:
    async def dither(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
            await writer.drain()

    await _is_closed_port(proxy, dither)


async def test_endless_headers_are_no_answer(proxy: ProxyServer) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: " + b"b" * 1000 + b"\r\n")
            await writer.drain()

    await _is_closed_port(proxy, chatter)


async def test_thousands_of_small_headers_are_no_answer(proxy: ProxyServer) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"A:\r\n" * 5000 + b"\r\n")
        await writer.drain()

    await _is_closed_port(proxy, chatter)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \r\n b: folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
    ],
)
async def test_answers_that_parsers_read_differently_or_not_at_all(proxy: ProxyServer, head: bytes) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(head)
        await writer.drain()
        await reader.read()

    await _is_closed_port(proxy, odd)


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n" + b"X-T: " + b"y" * 70_000 + b"\r\n\r\n",
        b"0\r\n" + b"X-T: y\r\n" * 20_000 + b"\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"5;" + b"e" * 10_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"zz\r\nhello\r\n",
        b"5\r\nhello, world\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
    ],
)
async def test_trailer_bombs_and_broken_chunks_are_cuts(proxy: ProxyServer, body: bytes) -> None:
    """The answer has begun, so nothing but a cut can say that it is not complete."""

    async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(body)
        await writer.drain()
        await reader.read()

    async with origin(bomb) as port, client(proxy.port) as browser, asyncio.timeout(20):
        await browser.send(get(port))
        await read_head(browser.reader)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await browser.reader.readexactly(10_000_000)


async def test_a_chunk_extension_flood_is_cut(proxy: ProxyServer) -> None:
    """More framing than content for ever: what carries nothing is not carried."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        while True:
            writer.write(b"1;" + b"e" * 1000 + b"\r\na\r\n")
            await writer.drain()

    async with origin(flood) as port, client(proxy.port) as browser, asyncio.timeout(20):
        await browser.send(get(port))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await browser.reader.readexactly(10_000_000)


async def test_a_body_in_single_bytes_arrives(proxy: ProxyServer) -> None:
    """A drip is slow, not wrong; it holds nobody else up."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def quick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(drip) as slow, origin(quick) as fast, client(proxy.port) as patient, client(proxy.port) as browser:
        await patient.send(get(slow))
        assert (await browser.ask(get(fast))).status == 204
        assert (await read_answer(patient.reader)).body == b"x" * 100


async def test_what_follows_an_answer_meets_no_other_sandbox_between_the_hops(proxy: ProxyServer, routes: RouteTable) -> None:
    """The hops share connections: an answer smuggled behind another one must end where it came from."""

    async def smuggler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue" + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse")
        await writer.drain()
        with contextlib.suppress(OSError):
            await reader.read()

    async def silent_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        body = b"" if head.startswith(b"HEAD") else b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse"
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n" + body)
        await writer.drain()

    async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest")

    async with origin(smuggler) as one, origin(silent_head) as two, origin(honest) as three, client(proxy.port) as browser:
        routes.add(route_to("ihonest", real_port=three))
        for _ in range(100):
            assert (await browser.ask(get(one))).body == b"true"
            assert (await browser.ask(get(two))).status == 204
            assert (await browser.ask(get(8080, sandbox_id="ihonest"))).body == b"honest"


async def test_an_answer_to_nobody_does_not_stay(proxy: ProxyServer, routes: RouteTable) -> None:
    """A client that is gone leaves no connection into the sandbox, however much there is to say."""
    left = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        left.set()

    async with origin(endless) as port:
        async with client(proxy.port) as browser:
            await browser.send(get(port))
            await read_head(browser.reader)
            reset_on_close(browser.writer)
        async with asyncio.timeout(20):
            await left.wait()
            while routes._entries[SANDBOX].load.requests:
                await asyncio.sleep(0.01)
