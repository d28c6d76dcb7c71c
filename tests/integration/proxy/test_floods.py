"""Clients that send without end and never read, by the thousand: memory stays bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from sandbank.proxy.server import ProxyServer
from sandbank.servicekit.footing import allow_open_files
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import Client, client, get, origin, read_answer, read_head

_MIB = 1024 * 1024


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextmanager
def _held_bytes() -> Iterator[Callable[[], int]]:
    """Yields how much more Python's objects take than at the beginning: exact, where a process keeps what was freed."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@asynccontextmanager
async def _others_are_served(proxy: ProxyServer) -> AsyncIterator[None]:
    """While the block runs another client asks again and again, and is answered."""
    done = asyncio.Event()
    answered = 0

    async def visit(port: int) -> None:
        nonlocal answered
        async with client(proxy.port) as browser:
            while not done.is_set():
                async with asyncio.timeout(20):
                    assert (await browser.ask(get(port))).body == b"ok"
                answered += 1

    async with origin(_answer) as port:
        visiting = asyncio.ensure_future(visit(port))
        try:
            yield
            before = answered
            while answered < before + 3:
                assert not visiting.done(), "another client was not served"
                await asyncio.sleep(0.01)
        finally:
            done.set()
            await visiting


async def _push(attacker: Client, data: bytes, total: int) -> int:
    """Send `data` over and over until the peer has taken nothing for a while, or has had enough; how much was sent."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < total:
            attacker.writer.write(data)
            try:
                async with asyncio.timeout(1.0):
                    await attacker.writer.drain()
            except TimeoutError:
                break
            sent += len(data)
    return sent


async def _ends(attacker: Client) -> None:
    """The proxy ends the connection, whatever it says before."""
    async with asyncio.timeout(20):
        with contextlib.suppress(OSError):
            while await attacker.reader.read(65536):
                pass


async def test_pipelined_requests_whose_answers_nobody_reads(proxy: ProxyServer) -> None:
    """Answers pile up in the client's own socket; then nothing more is read of it."""
    async with _others_are_served(proxy), client(proxy.port) as attacker:
        attacker.reader._limit = 1024  # type: ignore[attr-defined]  # asyncio stops reading at twice this
        before = _resident_bytes()
        sent = await _push(attacker, get(80, sandbox_id="iunknown") * 1000, 400 * _MIB)
        assert sent < 100 * _MIB
        assert _resident_bytes() - before < 64 * _MIB


async def test_requests_sent_ahead_of_a_slow_answer(proxy: ProxyServer) -> None:
    """What waits behind a request under way is bounded as well."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        with contextlib.suppress(OSError):
            await reader.read()

    async with origin(slow) as port, _others_are_served(proxy), client(proxy.port) as attacker:
        before = _resident_bytes()
        sent = await _push(attacker, get(port) * 1000, 400 * _MIB)
        assert sent < 100 * _MIB
        assert _resident_bytes() - before < 64 * _MIB


@pytest.mark.parametrize(
    ("flood", "name"),
    [
        (b"1;" + b"e" * 1000 + b"\r\na\r\n", "chunk extensions"),
        (b"0\r\n" + b"X-T: y\r\n" * 1000, "trailers"),
        (b"0\r\nX-T: " + b"y" * 100_000, "one long trailer"),
        (b"1" * 100_000, "a size without end"),
        (b"1;" + b"e" * 100_000, "an extension without end"),
        (b"\r\n" * 1000, "empty lines"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_framing_floods_are_refused(proxy: ProxyServer, flood: bytes, name: str) -> None:
    """Chunked uploads that are all framing end with a clear error or a cut, and the sandbox never sees a complete request."""
    complete = asyncio.Event()

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        seen = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                seen = seen[-10:] + data
                if b"\r\n0\r\n\r\n" in seen:
                    complete.set()

    async with origin(sink) as port, _others_are_served(proxy), client(proxy.port) as attacker:
        before = _resident_bytes()
        await attacker.send(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n"))
        sending = asyncio.ensure_future(_push(attacker, flood, 200 * _MIB))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(20):
                assert (await read_answer(attacker.reader)).status == 400
        await _ends(attacker)
        sending.cancel()
        await asyncio.wait({sending})
        assert not complete.is_set()
        assert _resident_bytes() - before < 64 * _MIB


async def test_a_body_that_trickles_holds_nobody_up_and_nothing_back(proxy: ProxyServer) -> None:
    """Slow uploads are legitimate (§7.2: no request timeout); each byte arrives as it comes."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def listener(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for _ in range(20):
            arrived.put_nowait(await reader.readexactly(1))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(listener) as port, _others_are_served(proxy), client(proxy.port) as trickler:
        await trickler.send(get(port, method="PUT", extra="Content-Length: 20\r\n"))
        for number in range(20):
            await trickler.send(b"%c" % (65 + number))
            async with asyncio.timeout(20):
                assert await arrived.get() == b"%c" % (65 + number)
        assert (await read_answer(trickler.reader)).status == 204


async def test_thousands_of_idle_connections_cost_little_and_hinder_nobody(proxy: ProxyServer) -> None:
    """Each has asked once and keeps its connection."""
    allow_open_files()
    count = 2000
    async with contextlib.AsyncExitStack() as stack:
        before = _resident_bytes()
        for _ in range(count):
            idler = await stack.enter_async_context(client(proxy.port))
            await idler.send(get(80, sandbox_id="iunknown"))
            assert (await read_answer(idler.reader)).status == 502
        assert proxy.connection_count == count
        assert _resident_bytes() - before < count * 40 * 1024  # both ends of each live in this process
        async with _others_are_served(proxy):
            await asyncio.sleep(0.2)
    async with asyncio.timeout(20):
        while proxy.connection_count:
            await asyncio.sleep(0.02)


async def test_thousands_of_half_sent_heads_hinder_nobody(proxy: ProxyServer) -> None:
    """A slow-loris of many: they wait for their own deadline, not for anybody else's."""
    allow_open_files()
    async with contextlib.AsyncExitStack() as stack:
        before = _resident_bytes()
        for _ in range(500):
            loris = await stack.enter_async_context(client(proxy.port))
            await loris.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 30_000)
        async with _others_are_served(proxy):
            await asyncio.sleep(0.2)
        assert _resident_bytes() - before < 500 * 160 * 1024


async def test_large_heads_are_not_kept_by_idle_connections(proxy: ProxyServer) -> None:
    """An idle connection may last ten minutes; what it once asked may not."""
    count = 500
    async with contextlib.AsyncExitStack() as stack:
        held = stack.enter_context(_held_bytes())
        for number in range(count):
            idler = await stack.enter_async_context(client(proxy.port))
            await idler.send(get(80, sandbox_id="iunknown", extra=f"X-{number}: " + "a" * 60_000 + "\r\n"))
            assert (await read_answer(idler.reader)).status == 502
        assert held() < count * 20 * 1024


async def test_large_heads_are_not_kept_by_tunnels_and_streams(proxy: ProxyServer) -> None:
    """Neither the client's nor the origin's, and they may last for hours."""
    count = 150

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        first = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x" if b"Upgrade: x" in head else b"HTTP/1.1 200 OK"
        writer.write(first + b"\r\nX-A: " + b"a" * 60_000 + b"\r\n\r\n")
        del head, first
        with contextlib.suppress(OSError):
            await reader.read()

    async with origin(stream) as port, contextlib.AsyncExitStack() as stack:
        held = stack.enter_context(_held_bytes())
        for number in range(2 * count):
            upgrade = "Connection: upgrade\r\nUpgrade: x\r\n" if number % 2 else ""
            watcher = await stack.enter_async_context(client(proxy.port))
            await watcher.send(get(port, extra=f"{upgrade}X-{number}: " + "a" * 60_000 + "\r\n"))
            await read_head(watcher.reader)
        assert held() < 2 * count * 40 * 1024


async def test_long_host_names_do_not_fill_memory(proxy: ProxyServer) -> None:
    """§7.1: hosts are remembered, but not whatever a client makes up."""
    async with client(proxy.port) as attacker:
        with _held_bytes() as held:
            for number in range(300):
                await attacker.send(f"GET / HTTP/1.1\r\nHost: 80-i{number}.{'a' * 60_000}\r\n\r\n".encode())
                assert (await read_answer(attacker.reader)).status == 502
            assert held() < 4 * _MIB


_DENSE = b"1\r\nx\r\n" * 20_000


async def test_an_upload_of_tiny_chunks_leaves_others_their_turn_and_arrives(proxy: ProxyServer) -> None:
    """A megabyte of single bytes is a lot of work for a parser, and none of it may be done in one go."""
    rounds = 20
    received = 0

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await read_head(reader)
        rest = b""
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            data = await reader.read(1 << 18)
            received += len(data)
            rest = (rest + data)[-10:]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with origin(sink) as port, _others_are_served(proxy), client(proxy.port) as attacker:
        await attacker.send(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n"))
        for _ in range(rounds):
            await attacker.send(_DENSE)
        assert (await attacker.ask(b"0\r\n\r\n")).body == b"ok"
        assert received == rounds * len(_DENSE) + 5
        assert (await attacker.ask(get(port, method="POST", extra="Transfer-Encoding: chunked\r\n") + _DENSE + b"0\r\n\r\n")).body == b"ok"


async def test_an_answer_of_tiny_chunks_leaves_others_their_turn_and_arrives(proxy: ProxyServer) -> None:
    """The same from inside a sandbox."""
    rounds = 20

    async def dense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(rounds):
            writer.write(_DENSE)
            await writer.drain()
        writer.write(b"0\r\nX-T: 1\r\n\r\n")

    async with origin(dense) as port, _others_are_served(proxy), client(proxy.port) as reader:
        await reader.send(get(port))
        await read_head(reader.reader)
        assert await reader.reader.readexactly(rounds * len(_DENSE)) == _DENSE * rounds
        assert await reader.reader.readexactly(13) == b"0\r\nX-T: 1\r\n\r\n"
        assert (await reader.ask(get(80, sandbox_id="iunknown"))).status == 502


async def test_an_upload_of_tiny_chunks_that_nobody_reads_is_thrown_away(proxy: ProxyServer) -> None:
    """What comes after the answer is discarded in turns as well, and the connection goes on."""
    async with client(proxy.port) as uploader:
        request = get(80, sandbox_id="iunknown", method="POST", extra="Transfer-Encoding: chunked\r\n")
        body = b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
        assert (await uploader.ask(request + body[:70])).status == 502
        assert (await uploader.ask(body[70:] + get(80, sandbox_id="iunknown"))).status == 502
        await uploader.send(request + body + get(80, sandbox_id="iunknown"))
        uploader.writer.write_eof()
        assert [(await read_answer(uploader.reader)).status for _ in range(2)] == [502, 502]
        assert await uploader.reader.read() == b""
