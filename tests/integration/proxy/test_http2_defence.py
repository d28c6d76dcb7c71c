"""Hostile HTTP/2 clients: what they smuggle, flood and withhold (contract data-plane §7)."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tracemalloc

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from tests.integration.proxy.http2_wire import Http2Client, http2_client, request
from tests.integration.proxy.wire import Client, client, origin, read_head

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


OPENING = PREFACE + frame(SETTINGS)


def block(port: int, path: str = "/", *, encoder: Encoder | None = None) -> bytes:
    """A request's header block."""
    return (encoder or Encoder()).encode(request(port, path))


async def until_cut(attacker: Client) -> int | None:
    """Read to the end; the error code of the GOAWAY that came before it."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(attacker.reader.read(65536), 20):
            received += data
    code = None
    while len(received) >= 9:
        size = int.from_bytes(received[:3], "big")
        if received[3] == GOAWAY:
            code = int.from_bytes(received[13:17], "big")
        received = received[9 + size :]
    return code


async def assault(proxy: ProxyServer, data: bytes) -> int | None:
    """Send this; how the connection ended."""
    async with client(proxy.port) as attacker:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await attacker.send(OPENING + data)
        return await until_cut(attacker)


class Witness:
    """An origin that remembers every byte it was sent."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.seen += data
        self.ended.set()


SMUGGLED = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
RESET: dict[str, list[tuple[str, str]]] = {
    "line breaks in a value": request(1, extra=[("x", SMUGGLED)]),
    "line breaks in a name": request(1, extra=[("x: y\r\nz", "a")]),
    "line breaks in the path": request(1, f"/{SMUGGLED}"),
    "line breaks in the method": request(1, method=f"GET / HTTP/1.1\r\n{SMUGGLED}"),
    "chunked": request(1, method="POST", extra=[("transfer-encoding", "chunked")]),
    "connection": request(1, extra=[("connection", "x")]),
    "absolute path": request(1, "http://other/"),
    "two authorities": [*request(1), (":authority", "other")],
    "another host": request(1, extra=[("host", "other")]),
}


@pytest.mark.parametrize("name", RESET)
async def test_malformed_requests_are_reset_and_others_live_on(proxy: ProxyServer, name: str) -> None:
    async with http2_client(proxy.port) as attacker:
        innocent = await attacker.ask(request(80, method="POST", sandbox_id="iunknown"), end=False)
        assert (await attacker.get(RESET[name])).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await attacker.until(innocent)).status == 502


async def test_ambiguous_requests_get_an_answer(proxy: ProxyServer) -> None:
    async with http2_client(proxy.port) as attacker:
        for headers in (request(1, "/a b"), request(1, "/a#b"), request(1, extra=[("x", str(number)) for number in range(300)])):
            assert (await attacker.get(headers)).status in (400, 431)
        assert (await attacker.get([(":method", "CONNECT"), (":authority", "a:1")])).status == 400


async def _bodies(port: int, attacker: Http2Client, kind: str) -> None:
    headers = request(port, method="POST", extra=[("content-length", "5")])
    if kind == "longer":
        await attacker.ask(headers, b"hello GET /smuggled HTTP/1.1\r\n\r\n")
    elif kind == "shorter":
        await attacker.ask(headers, b"hell")
    elif kind == "shorter with trailers":
        await attacker.ask(headers, b"hell", trailers=[("x", "y")])
    elif kind == "none":
        await attacker.ask(headers)
    elif kind == "none but trailers":
        await attacker.ask(headers, trailers=[("x", "y")])
    else:
        await attacker.ask(request(port, method="POST"), b"hello", trailers=[("content-length", "100")])


@pytest.mark.parametrize("kind", ["longer", "shorter", "shorter with trailers", "none", "none but trailers", "length in the trailers"])
async def test_a_body_that_is_not_as_long_as_announced_never_completes_a_request(proxy: ProxyServer, kind: str) -> None:
    """Otherwise what follows on the origin's connection would be read as its rest, or its rest as what follows."""
    witness = Witness()
    async with origin(witness) as port, http2_client(proxy.port) as attacker:
        await _bodies(port, attacker, kind)
        reply = attacker.replies[1]
        async with asyncio.timeout(10), attacker.changed:
            while reply.reset is None and not attacker.closed:
                await attacker.changed.wait()
        if witness.seen:
            await asyncio.wait_for(witness.ended.wait(), 10)
        assert b"smuggled" not in witness.seen
        head, _, body = bytes(witness.seen).partition(b"\r\n\r\n")
        assert len(body) < 5 or b"chunked" in head
        assert not body.endswith(b"0\r\n\r\n")


async def test_rapid_resets_are_cut_off(proxy: ProxyServer) -> None:
    """CVE-2023-44487: what is opened and reset in the same breath never reaches an origin, and not for long."""
    asked = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()

    async with origin(counting) as port:
        encoder = Encoder()
        flood = b"".join(
            frame(HEADERS, block(port, encoder=encoder), flags=5, stream=number) + frame(RST_STREAM, bytes(4), stream=number)
            for number in range(1, 20_001, 2)
        )
        assert await assault(proxy, flood) == ErrorCodes.ENHANCE_YOUR_CALM
        assert asked < 10
        while proxy.connection_count:
            await asyncio.sleep(0.01)


async def test_provoked_resets_are_cut_off(proxy: ProxyServer) -> None:
    """CVE-2025-8671: the client makes us reset what it has asked for."""
    encoder = Encoder()
    flood = b"".join(
        frame(HEADERS, block(80, encoder=encoder), flags=5, stream=number) + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=number)
        for number in range(1, 4001, 2)
    )
    assert await assault(proxy, flood) == ErrorCodes.ENHANCE_YOUR_CALM
    malformed = encoder.encode(request(80, "no path"))
    flood = b"".join(frame(HEADERS, malformed, flags=5, stream=number) for number in range(1, 4001, 2))
    assert await assault(proxy, flood) is not None


FLOODS = {
    "settings": frame(SETTINGS),
    "pings": frame(PING, bytes(8)),
    "window updates": frame(WINDOW_UPDATE, b"\0\0\0\1"),
    "unknown frames": frame(200, bytes(8)),
    "goaways": frame(GOAWAY, bytes(8)),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_cut_off(proxy: ProxyServer, name: str) -> None:
    assert await assault(proxy, FLOODS[name] * 20_000) == ErrorCodes.ENHANCE_YOUR_CALM


async def test_endless_header_blocks_are_cut_off(proxy: ProxyServer) -> None:
    """CVE-2024-27316."""
    begun = frame(HEADERS, block(80), flags=1, stream=1)
    assert await assault(proxy, begun + frame(CONTINUATION, bytes(100), stream=1) * 50) == ErrorCodes.ENHANCE_YOUR_CALM
    assert await assault(proxy, begun + frame(CONTINUATION, bytes(60_000), stream=1) * 2) == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_compressed_bomb_is_not_unfolded(proxy: ProxyServer) -> None:
    """One long value in the table, then a thousand references to it."""
    encoder = Encoder()
    large = encoder.encode([*request(80), ("x", "y" * 3500)], huffman=False)
    bomb = large + bytes([0x80 | 62]) * 5000
    tracemalloc.start()
    try:
        assert await assault(proxy, frame(HEADERS, bomb, flags=5, stream=1)) == ErrorCodes.ENHANCE_YOUR_CALM
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_a_table_that_the_client_offers_is_not_filled(proxy: ProxyServer) -> None:
    async def unique(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = (await read_head(reader)).split(b" ")[1][1:]
        writer.write(b"HTTP/1.1 204 No Content\r\nX: " + number * 2000 + b"\r\n\r\n")

    async with origin(unique) as port, http2_client(proxy.port) as attacker:
        attacker.h2.update_settings({1: 2**31})
        await attacker.flush()
        for number in range(20):
            assert (await attacker.get(request(port, f"/{number}"))).status == 204
        (connection,) = proxy._connections
        assert connection.engine.encoder.header_table_size <= 4096  # type: ignore[attr-defined]


async def test_one_that_asks_and_does_not_listen_is_not_read_any_more(proxy: ProxyServer) -> None:
    """Answers that are only heads fit through no window, so they must not pile up elsewhere."""

    async def heads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_head(reader):
            writer.write(b"HTTP/1.1 204 No Content\r\nX: " + b"y" * 60_000 + b"\r\n\r\n")

    async with origin(heads) as port, client(proxy.port) as deaf:
        deaf.reader._limit = 1024  # type: ignore[attr-defined]  # asyncio stops reading at twice this
        await deaf.send(OPENING)
        encoder = Encoder()
        for number in range(1, 4001, 2):
            deaf.writer.write(frame(HEADERS, block(port, encoder=encoder), flags=5, stream=number))
            if number % 200 == 1:
                await asyncio.sleep(0.02)
        held = before = -1
        while held != before or not held:
            before = held
            await asyncio.sleep(0.5)
            held = sum(one.transport.get_write_buffer_size() for one in proxy._connections)
        assert held < 8 * 1024 * 1024  # a hundred answers that were under way


async def test_what_is_begun_must_go_on(routes: RouteTable) -> None:
    """A preface without settings, a header block without its end."""
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=ProxyLimits(header_timeout_seconds=0.5, linger_seconds=0.5))
    await server.start()
    async with client(server.port) as silent, client(server.port) as slow:
        await silent.send(PREFACE)
        await slow.send(OPENING + frame(HEADERS, block(80), flags=1, stream=1))
        assert await until_cut(silent) == ErrorCodes.ENHANCE_YOUR_CALM
        assert await until_cut(slow) == ErrorCodes.ENHANCE_YOUR_CALM
    while server.connection_count:
        await asyncio.sleep(0.01)
    await server.stop()


async def test_tiny_windows_cost_the_client_more_than_us(proxy: ProxyServer) -> None:
    """CVE-2019-9511, 9517: the answer trickles out, nothing grows, the stream is the client's to lose."""

    async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + bytes(10_000_000))
        await reader.read()

    async with origin(big) as port, http2_client(proxy.port, window=0) as miser:
        streams = [await miser.ask(request(port)) for _ in range(20)]
        for stream in streams:
            await miser.until(stream, "headers")
        await asyncio.sleep(0.3)
        (connection,) = proxy._connections
        held = [stream.outbox.size for stream in connection._streams.values()]  # type: ignore[attr-defined]
        assert len(held) == 20
        assert max(held) < 700_000
        miser.h2.increment_flow_control_window(1, streams[0])
        await miser.flush()
        reply = await miser.until(streams[0], "body")
        assert reply.frames == [1]
