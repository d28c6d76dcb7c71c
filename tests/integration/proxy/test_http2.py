"""HTTP/2 in front of the proxy: contract data-plane §7 (intro), §7.3, §6.3; sdk-latest §2.4, §2.5."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from h2.errors import ErrorCodes

from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from tests.integration.proxy.http2_wire import http2_client, request
from tests.integration.proxy.wire import SANDBOX, Endless, client, get, origin, read_head


@pytest.fixture
def limits() -> ProxyLimits:
    return ProxyLimits(linger_seconds=0.3)


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """A request's body, its chunks joined, its trailers behind it."""
    if b"transfer-encoding: chunked" in head.lower():
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while (line := await reader.readline()) != b"\r\n":
            body += b"|" + line.strip()
        return body
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.split(b":")[1]))
    return b""


async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request as it arrived."""
    head = await read_head(reader)
    text = head + await _read_body(reader, head)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(text), text))


async def test_a_request_by_prior_knowledge_reaches_the_origin_in_http1(proxy: ProxyServer) -> None:
    async with origin(mirror) as port, http2_client(proxy.port) as sdk:
        extra = [("cookie", "a=1"), ("x-field", "y"), ("cookie", "b=2"), ("te", "trailers"), ("x-forwarded-for", "1.2.3.4")]
        reply = await sdk.get(request(port, "/a?b=c", extra=extra))
        assert reply.status == 200
        lines = bytes(reply.body).decode().split("\r\n")
        assert lines[0] == "GET /a?b=c HTTP/1.1"
        assert lines[1] == f"host: {port}-{SANDBOX}.localhost"
        assert "cookie: a=1; b=2" in lines
        assert "x-field: y" in lines
        assert "TE: trailers" in lines
        assert not any(line.lower().startswith(("x-forwarded-for", "transfer-encoding", "content-length")) for line in lines)


async def test_bodies_with_and_without_a_length_and_their_trailers(proxy: ProxyServer) -> None:
    async with origin(mirror) as port, http2_client(proxy.port) as sdk:
        counted = await sdk.get(request(port, method="POST", extra=[("content-length", "5")]), b"hello")
        assert counted.body.endswith(b"\r\n\r\nhello")
        assert b"transfer-encoding" not in counted.body
        chunked = await sdk.get(request(port, method="POST"), b"hello", trailers=[("x-sum", "7")])
        assert chunked.body.endswith(b"\r\n\r\nhello|x-sum: 7")
        big = await sdk.get(request(port, method="PUT"), bytes(3_000_000))
        assert len(big.body) > 3_000_000
        none = await sdk.get(request(port, method="POST"))
        assert b"content-length: 0" in none.body
        empty = await sdk.get(request(port), b"")
        assert b"chunked" not in empty.body


async def test_a_hundred_streams_at_once(proxy: ProxyServer) -> None:
    """§7: max 100 streams per connection."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + head.split(b" ")[1][1:])

    async with origin(slow) as port, http2_client(proxy.port) as sdk:
        streams = [await sdk.ask(request(port, f"/{100 + number}")) for number in range(100)]
        while sdk.h2.remote_settings.max_concurrent_streams != 100:
            await asyncio.sleep(0.01)
        go_on.set()
        for number, stream in enumerate(streams):
            assert (await sdk.until(stream)).body == b"%d" % (100 + number)


async def test_answers_without_a_body_end_with_their_head(proxy: ProxyServer) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        status = head.split(b" ")[1][1:]
        writer.write(b"HTTP/1.1 " + status + b" X\r\nETag: x\r\n" + (b"Content-Length: 7\r\n" if status != b"204" else b"") + b"\r\n")

    async with origin(answers) as port, http2_client(proxy.port) as sdk:
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            reply = await sdk.get(request(port, f"/{status}", method=method))
            assert (reply.status, reply.headers["etag"], bytes(reply.body), reply.frames) == (status, "x", b"", [])


async def test_trailers_and_chunks_of_an_answer(proxy: ProxyServer) -> None:
    """§7.3: trailers pass; the chunked framing does not."""

    async def trailing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nKeep-Alive: timeout=5\r\n\r\n5\r\nhel")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"lo\r\n0\r\nX-Sum: 7\r\n\r\n")

    async with origin(trailing) as port, http2_client(proxy.port) as sdk:
        reply = await sdk.get(request(port))
        assert (bytes(reply.body), reply.trailers) == (b"hello", {"x-sum": "7"})
        assert not {"transfer-encoding", "keep-alive", "connection"} & reply.headers.keys()


async def test_interim_answers_and_expectations(proxy: ProxyServer) -> None:
    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"expect: 100-continue" in head
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with origin(careful) as port, http2_client(proxy.port) as sdk:
        stream = await sdk.ask(request(port, method="PUT", extra=[("content-length", "5"), ("expect", "100-continue")]), end=False)
        reply = sdk.replies[stream]
        while reply.interim != [103, 100]:
            await asyncio.sleep(0.01)
        await sdk.send(stream, b"hello", end=True)
        assert (await sdk.until(stream)).body == b"hello"


async def test_full_duplex(proxy: ProxyServer) -> None:
    """sdk-latest §2.5: every piece of a client's stream arrives as it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            piece = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n" % size + piece)
        writer.write(b"0\r\n\r\n")

    async with origin(echo) as port, http2_client(proxy.port) as sdk:
        stream = await sdk.ask(request(port, method="POST"), end=False)
        await sdk.until(stream, "headers")
        for number in range(5):
            await sdk.send(stream, b"%d" % number)
            while len(sdk.replies[stream].body) <= number:
                await asyncio.sleep(0.01)
        await sdk.send(stream, b"", end=True)
        reply = await sdk.until(stream)
        assert (bytes(reply.body), reply.ended) == (b"01234", True)
        assert 0 not in reply.frames[:-1]  # sdk-latest §2.4: no empty DATA but at the end


async def test_an_early_answer_stops_the_upload_and_only_it(proxy: ProxyServer) -> None:
    """sdk-latest §2.5: the server may answer before the body ends."""

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        await reader.read()

    async with origin(hasty) as port, http2_client(proxy.port) as sdk:
        stream = await sdk.ask(request(port, method="POST"), b"abc", end=False)
        reply = await sdk.until(stream)
        assert (bytes(reply.body), reply.ended, reply.reset) == (b"early", True, None)
        await sdk.send(stream, bytes(1_000_000))  # some clients take a reset in this moment for a failure
        while reply.reset is None:
            await asyncio.sleep(0.01)
        assert reply.reset == ErrorCodes.NO_ERROR
        assert (await sdk.get(request(port))).body == b"early"


async def test_a_request_that_is_given_up_is_cut_at_the_origin(proxy: ProxyServer) -> None:
    endless = Endless()
    async with origin(endless) as port:
        async with http2_client(proxy.port) as sdk:
            stream = await sdk.ask(request(port))
            await sdk.until(stream, "body")
            sdk.h2.reset_stream(stream, ErrorCodes.CANCEL)
            await sdk.flush()
            await asyncio.wait_for(endless.left.wait(), 10)
            endless.left.clear()
            await sdk.until(await sdk.ask(request(port)), "body")
        await asyncio.wait_for(endless.left.wait(), 10)  # the same when the connection goes


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 100"])
async def test_an_origin_that_breaks_off_resets_the_stream(proxy: ProxyServer, framing: bytes) -> None:
    """§7.3: after the head was sent, a break is RST_STREAM."""

    async def fragile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    async with origin(fragile) as port, http2_client(proxy.port) as sdk:
        reply = await sdk.get(request(port))
        assert (reply.status, reply.ended, reply.reset) == (200, False, ErrorCodes.INTERNAL_ERROR)
        assert (await sdk.get(request(port))).reset == ErrorCodes.INTERNAL_ERROR  # the connection lives on


async def test_removal_resets_streams_after_the_sandbox_became_unroutable(proxy: ProxyServer, routes: RouteTable) -> None:
    """§6.3: the probe that follows a cut stream sees the 502."""

    endless = Endless()
    async with origin(endless) as port, http2_client(proxy.port) as sdk:
        stream = await sdk.ask(request(port))
        await sdk.until(stream, "body")
        routes.remove(SANDBOX)
        reply = await sdk.until(stream)
        assert (reply.reset, reply.ended) == (ErrorCodes.INTERNAL_ERROR, False)
        page = await sdk.get(request(port))
        assert (page.status, bytes(page.body)) == (
            502,
            b'{"sandboxId":"%s","message":"The sandbox was not found","code":502}' % SANDBOX.encode(),
        )
        head = await sdk.get(request(port, method="HEAD"))
        assert (head.status, bytes(head.body)) == (502, b"")


async def test_a_stream_that_stalls_holds_back_its_origin_and_no_other(proxy: ProxyServer) -> None:
    total = 64 * 1024 * 1024
    sent = 0

    async def firehose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        head = await read_head(reader)
        if b"/small" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + bytes(20000))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = bytes(1024 * 1024)
        while sent < total:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with origin(firehose) as port, http2_client(proxy.port, window=10_000) as sdk:
        sdk.hold = True
        stalled = await sdk.ask(request(port))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 16 * 1024 * 1024  # what sockets hold; the proxy holds less than a megabyte
        assert len(sdk.replies[stalled].body) == 10_000
        (connection,) = proxy._connections
        assert connection._streams[stalled].outbox.size < 1024 * 1024  # type: ignore[attr-defined]
        other = await sdk.ask(request(port, "/small"))
        sdk.h2.increment_flow_control_window(20_000, other)
        sdk.h2.increment_flow_control_window(20_000)
        await sdk.flush()
        assert len((await sdk.until(other)).body) == 20_000
        sdk.hold = False
        sdk.h2.acknowledge_received_data(10_000, stalled)
        sdk.h2.increment_flow_control_window(1_000_000, stalled)
        sdk.h2.increment_flow_control_window(1_000_000)
        await sdk.flush()
        assert len((await sdk.until(stalled)).body) == total


async def test_an_upload_waits_for_its_origin_and_for_no_other(proxy: ProxyServer) -> None:
    go_on = asyncio.Event()

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"/slow" in head:
            await go_on.wait()
        body = await _read_body(reader, head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d" % len(body))

    async with origin(lazy) as port, http2_client(proxy.port) as sdk:
        size = 30_000_000
        stream = await sdk.ask(request(port, "/slow", method="PUT"), end=False)
        uploading = asyncio.ensure_future(sdk.send(stream, bytes(size), end=True))
        before = None
        while before != (before := sdk.h2.local_flow_control_window(stream)) or before:
            await asyncio.sleep(0.2)
        assert sdk.h2.outbound_flow_control_window > 1_000_000  # of the connection's window most is left
        assert (await sdk.get(request(port, method="PUT"), bytes(3_000_000))).body == b" 3000000"
        go_on.set()
        await uploading
        assert (await sdk.until(stream)).body == b"30000000"


async def test_stopping_says_goaway_and_lets_streams_end(routes: RouteTable) -> None:
    """§7: GOAWAY at drain."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await server.start()
    async with origin(slow) as port, http2_client(server.port) as busy, http2_client(server.port) as idle:
        stream = await busy.ask(request(port))
        while server.connection_count < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(server.stop())
        assert await idle.until_closed() == ErrorCodes.NO_ERROR
        while busy.terminated is None:
            await asyncio.sleep(0.01)
        go_on.set()
        assert (await busy.until(stream)).body == b"ok"
        assert await busy.until_closed() == ErrorCodes.NO_ERROR
        await stopping


async def test_a_silent_client_is_asked_whether_it_is_there(routes: RouteTable) -> None:
    """§7: read-idle ping 30 s, ping timeout 15 s; here in fractions of them."""
    limits = ProxyLimits(ping_idle_seconds=0.5, ping_timeout_seconds=1, idle_timeout_seconds=3.5)
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    async with http2_client(server.port) as lively, client(server.port) as dead:
        await dead.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        with contextlib.suppress(ConnectionResetError):
            while await dead.reader.read(1000):
                pass
        assert not lively.closed
        assert server.connection_count == 1
        assert await lively.until_closed() == ErrorCodes.NO_ERROR  # idle at last
    await server.stop()


async def test_a_preface_in_pieces_and_a_broken_one(proxy: ProxyServer) -> None:
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    async with client(proxy.port) as slow:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings:
            await slow.send(bytes([byte]))
            await asyncio.sleep(0.001)
        assert (await slow.reader.readexactly(9))[3] == 4  # settings
    async with client(proxy.port) as wrong:
        await wrong.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings)
        with contextlib.suppress(ConnectionResetError):
            while await wrong.reader.read(1000):
                pass
    async with client(proxy.port) as late:
        assert (await late.ask(get(80, sandbox_id="iunknown"))).status == 502
        assert (await late.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).status == 505  # only a connection's first bytes can be one


async def test_websockets_over_http2(proxy: ProxyServer) -> None:
    """RFC 8441."""

    async def switcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert head.startswith(b"GET /chat HTTP/1.1\r\n")
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert b"sec-websocket-key: " in head
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: x\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)
        writer.write(b"bye")

    headers = [(":method", "CONNECT"), (":protocol", "websocket")]
    async with origin(switcher) as port, http2_client(proxy.port) as browser:
        stream = await browser.ask([*headers, *request(port, "/chat")[1:], ("sec-websocket-version", "13")], b"early ", end=False)
        reply = await browser.until(stream, "headers")
        assert (reply.status, reply.headers.get("sec-websocket-protocol")) == (200, "x")
        await browser.send(stream, b"late ", end=True)
        assert (await browser.until(stream)).body == b"early late bye"
        other = await browser.get([*headers[:1], (":protocol", "other"), *request(port)[1:]], b"")
        assert other.reset is not None or other.status == 501


async def test_an_upgraded_connection_answers_its_first_request_in_http2(proxy: ProxyServer) -> None:
    """§7: `Upgrade: h2c`, with a body of up to 1 MiB."""
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    body = bytes(1_000_000)
    async with origin(mirror) as port:
        for extra, sent in ((upgrade, b""), (upgrade + f"Content-Length: {len(body)}\r\n", body)):
            async with client(proxy.port) as curl:
                await curl.send(get(port, "/up", method="POST", extra=extra) + sent)
                assert (await read_head(curl.reader)).startswith(b"HTTP/1.1 101 ")
                assert (await curl.reader.readexactly(9))[3] == 4  # settings
        for extra in (
            upgrade + "Content-Length: 2000000\r\n",
            upgrade.replace("AAMAAABkAAQAoAAAAAIAAAAA", "AAQA"),
            upgrade.replace("AAMAAABkAAQAoAAAAAIAAAAA", "AAT_____"),
        ):
            async with client(proxy.port) as curl:
                answer = await curl.ask(get(port, extra=extra, method="POST") + (bytes(2_000_000) if "2000000" in extra else b""))
                assert answer.status == 200
                assert b"pgrade" not in answer.body
