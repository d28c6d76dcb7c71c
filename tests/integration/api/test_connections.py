"""Clients of port 3000 that send slowly, endlessly or nonsense: each is bounded in time and bytes, and answered in the API's shape (§1)."""

from __future__ import annotations

import asyncio
import errno
import json
import resource
import socket

import pytest

from sandbank.api.endpoints import http_connection
from sandbank.domain.development import API_KEY
from tests.integration.api.conftest import LiveApi

_HEAD = b"GET /v2/sandboxes HTTP/1.1\r\nHost: api\r\nX-API-Key: " + API_KEY.encode() + b"\r\n"
_POST = b"POST /v2/sandboxes HTTP/1.1\r\nHost: api\r\nX-API-Key: " + API_KEY.encode() + b"\r\nContent-Type: application/json\r\n"


class Client:
    """One connection, byte by byte."""

    def __init__(self, api: LiveApi) -> None:
        self._port = api.settings.api_port

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = next((int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def until_cut(self) -> bytes:
        """What arrives until the connection ends; a hang is a failure."""
        received = b""
        async with asyncio.timeout(20):
            try:
                while chunk := await self.reader.read(65536):
                    received += chunk
            except ConnectionError:
                pass
        return received

    async def flood(self, piece: bytes, most_bytes: int) -> bytes:
        """Send `piece` until cut off; what was answered. Fails when all of `most_bytes` was taken."""
        sent = 0
        try:
            while sent < most_bytes:
                await self.send(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        assert sent < most_bytes, f"{sent} bytes were taken"
        return await self.until_cut()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can wait for."""
    monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_connection, "EXCHANGE_SECONDS", 0.6)


@pytest.mark.parametrize("first", [b"", b"\r\n", b"G", _HEAD, b"GET /" + b"a" * 1000])
async def test_a_head_that_does_not_come_is_waited_for_briefly(api: LiveApi, hurried: None, first: bytes) -> None:
    async with Client(api) as client:
        if first:
            await client.send(first)
        assert await client.until_cut() == b""


async def test_a_head_that_drips_is_cut_off(api: LiveApi, hurried: None) -> None:
    async with Client(api) as client:
        await client.send(_HEAD + b"X-Drip: ")
        for _ in range(500):
            try:
                await client.send(b"a")
                async with asyncio.timeout(0.02):
                    assert await client.reader.read() == b""
                return
            except TimeoutError:
                continue
            except ConnectionError:
                return
        raise AssertionError("ten seconds of dripping were listened to")


async def test_dripping_between_requests_keeps_no_connection(api: LiveApi, hurried: None) -> None:
    async with Client(api) as client:
        await client.send(_HEAD + b"\r\n")
        assert (await client.answer())[0] == 200
        for _ in range(3):
            await client.send(b"\r\n")
            await asyncio.sleep(0.05)
        await client.until_cut()


async def test_idle_connections_are_kept(api: LiveApi, hurried: None) -> None:
    async with Client(api) as client:
        for _ in range(2):
            await client.send(_HEAD + b"\r\n")
            assert (await client.answer())[0] == 200
            await asyncio.sleep(1.5)  # longer than any bound here


@pytest.mark.parametrize(
    "body", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"Content-Length: 100\r\n\r\n"]
)
async def test_a_body_that_does_not_come_is_waited_for_briefly(api: LiveApi, hurried: None, body: bytes) -> None:
    async with Client(api) as client:
        await client.send(_POST + body)
        await client.until_cut()


async def test_a_body_after_a_refusal_is_not_waited_for(api: LiveApi, hurried: None) -> None:
    """A stranger is answered at once and could go on sending for ever."""
    async with Client(api) as client:
        await client.send(b"POST /v2/sandboxes HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.answer())[0] == 401
        await client.until_cut()


async def test_who_takes_no_answer_is_cut_off(api: LiveApi, hurried: None) -> None:
    """A list as long as it gets, asked for again and again, and a client that reads nothing."""
    await asyncio.gather(
        *(api.client.post("/v2/sandboxes", json={"templateID": "base", "metadata": {"m": "a" * 16_000}}) for _ in range(20))
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", api.settings.api_port))
        client.setblocking(False)
        for _ in range(40):
            client.send(_HEAD + b"\r\n")
        async with asyncio.timeout(20):
            while client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNRESET:
                await asyncio.sleep(0.1)


async def test_requests_do_not_pile_up_behind_an_answer(api: LiveApi) -> None:
    async with Client(api) as client:
        await client.send((_HEAD + b"\r\n") * 1000)
        received = await client.until_cut()
    assert received.count(b"HTTP/1.1 ") < 200


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 8192),
        (b"GET / HTTP/1.1\r\n", b"X-Filler: " + b"a" * 1000 + b"\r\n"),
        (b"GET / HTTP/1.1\r\nX-Endless: ", b"a" * 8192),
        (b"GET / HTTP/1.1\r\n", b"a" * 8192),
        (_POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"a" * 1000 + b"\r\n"),
        (_POST + b"Transfer-Encoding: chunked\r\n\r\n2;", b"x=y;" * 1000),
        (b"", b"\r\n" * 4096),
    ],
    ids=["target", "headers", "header", "name", "trailers", "chunk-extension", "empty-lines"],
)
async def test_endless_framing_is_refused(api: LiveApi, begin: bytes, piece: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Client(api) as client:
        await client.send(begin)
        answer = await client.flood(piece, 64 << 20)
    assert answer == b"" or answer.split()[1] in (b"400", b"431"), answer[:200]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
    assert (await api.client.get("/v2/sandboxes")).status_code == 200


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
    ],
)
async def test_nonsense_is_answered_in_the_apis_shape(api: LiveApi, nonsense: bytes) -> None:
    async with Client(api) as client:
        await client.send(nonsense)
        status, body = await client.answer()
    assert status in (400, 404), body
    assert json.loads(body)["code"] == status


async def test_an_upgrade_that_we_do_not_speak_is_an_ordinary_request(api: LiveApi) -> None:
    """Java's client asks for HTTP/2 this way with every first request."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    async with Client(api) as client:
        await client.send(_HEAD + upgrade)
        assert (await client.answer())[0] == 200
        assert await client.until_cut() == b""


async def test_idle_connections_make_room_for_new_ones(api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "MOST_CONNECTIONS", 10)
    clients = [Client(api) for _ in range(30)]
    try:
        for client in clients:
            await client.__aenter__()
            await client.send(_HEAD + b"\r\n")
            assert (await client.answer())[0] == 200
        await asyncio.sleep(0.2)
        assert sum(not client.reader.at_eof() for client in clients) <= 10
    finally:
        for client in clients:
            client.writer.transport.abort()
