"""Ordinary requests: heads, bodies, pipelining, reuse of connections."""

from __future__ import annotations

import asyncio

import pytest

from sandbank.proxy.origin import OriginPolicy
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, Answer, client, get, origin, read_answer, read_head, route_to


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


_ALWAYS_REUSE = OriginPolicy((), 0, 60.0, False, 64, 1000)


async def _echo_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the head it got, as often as it is asked."""
    while True:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\nX-Kept: yes\r\n\r\n" % len(head) + head)
        await writer.drain()
        if b"connection: close" in head.lower():
            return


async def test_headers_of_other_hops_are_removed_and_the_rest_travels_unchanged(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port, client(proxy.port) as browser:
        answer = await browser.ask(
            get(
                port,
                "/a?b=1&bad=%zz&c=2",
                extra="Connection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: 5\r\nX-Forwarded-For: 1.2.3.4\r\n"
                "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\nTE: trailers\r\n"
                "Proxy-Authorization: x\r\nE2b-Sandbox-Id: other\r\nX-MiXed: Kept\r\n",
            )
        )
    assert answer.header("connection") is None
    assert answer.header("x-kept") == "yes"
    sent = answer.body.decode()
    assert sent.startswith(f"GET /a?b=1&c=2 HTTP/1.1\r\nHost: {port}-{SANDBOX}.localhost\r\nE2b-Sandbox-Id: other\r\nX-MiXed: Kept\r\n")
    for gone in ("Private", "Keep-Alive", "Forwarded", "Proxy-Authorization"):
        assert gone not in sent
    assert "TE: trailers\r\n" in sent


async def test_routing_headers_name_the_sandbox_on_a_shared_host(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port, client(proxy.port) as sdk:
        answer = await sdk.ask(
            f"GET /x HTTP/1.1\r\nHost: localhost:3002\r\nE2b-Sandbox-Id: {SANDBOX}\r\nE2b-Sandbox-Port: {port}\r\n\r\n".encode()
        )
        assert answer.status == 200
        assert b"Host: localhost:3002\r\n" in answer.body
        missing = await sdk.ask(f"GET /x HTTP/1.1\r\nHost: localhost:3002\r\nE2b-Sandbox-Id: {SANDBOX}\r\n\r\n".encode())
        assert (missing.status, missing.body) == (400, b"missing header\n")


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("localhost", "Invalid host"),
        ("nodash.example.com", "Invalid host"),
        ("80-ABC.example.com", "Invalid sandbox ID"),
        ("x-abc.example.com", "Invalid sandbox port"),
    ],
)
async def test_hosts_that_name_no_sandbox(proxy: ProxyServer, host: str, text: str) -> None:
    async with client(proxy.port) as browser:
        answer = await browser.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (answer.status, answer.body.decode()) == (400, text + "\n")


async def test_pipelined_requests_are_answered_in_order(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port, client(proxy.port) as eager:
        await eager.send(b"".join(get(port, f"/{number}") for number in range(200)))
        for number in range(200):
            answer = await read_answer(eager.reader)
            assert answer.body.startswith(f"GET /{number} ".encode())


async def test_a_thousand_pipelined_refusals_do_not_nest(proxy: ProxyServer) -> None:
    async with client(proxy.port) as eager:
        await eager.send(get(80, sandbox_id="iunknown") * 1000)
        for _ in range(1000):
            assert (await read_answer(eager.reader)).status == 502


async def test_pipelined_requests_and_then_the_end_of_sending(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port, client(proxy.port) as eager:
        await eager.send(get(port, "/1") + get(port, "/2"))
        eager.writer.write_eof()
        assert (await read_answer(eager.reader)).body.startswith(b"GET /1 ")
        assert (await read_answer(eager.reader)).body.startswith(b"GET /2 ")
        assert await eager.reader.read() == b""


async def test_chunked_both_ways_with_trailers(proxy: ProxyServer) -> None:
    received = bytearray()

    async def chunky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await read_head(reader))
        received.extend(await reader.readuntil(b"X-Sum: 7\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"2;ext=1\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        await read_head(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    table = RouteTable(_ALWAYS_REUSE)
    table.add(route_to())
    server = sandbox_proxy(table, host="127.0.0.1", port=0)
    await server.start()
    async with origin(chunky) as port, client(server.port) as sdk:
        request = get(port, "/up", method="POST", extra="Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n")
        for piece in (request[:20], request[20:], b"5\r", b"\nhel", b"lo\r\n0\r\nX-Su", b"m: 7\r\n\r\n"):
            await sdk.send(piece)
            await asyncio.sleep(0.005)
        raw = await sdk.reader.readuntil(b"X-T: 1\r\n\r\n")
        assert raw.endswith(b"\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        assert (await sdk.ask(get(port))).status == 204  # on the same connections
    await server.stop()
    assert received.endswith(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")


async def test_answers_without_bodies(proxy: ProxyServer) -> None:
    async def bodiless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if head.startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        elif b"/304" in head:
            writer.write(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with origin(bodiless) as port, client(proxy.port) as browser:
        answer = await browser.ask(get(port, method="HEAD"), head_only=True)
        assert (answer.status, answer.header("content-length")) == (200, "1000")
        assert (await browser.ask(get(port, "/304"))).status == 304
        assert (await browser.ask(get(port, "/204"))).status == 204


async def test_a_body_that_ends_with_the_connection(proxy: ProxyServer) -> None:
    async def old_school(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\nfirst ")  # bare line feeds, as shell scripts write them
        await asyncio.sleep(0.02)
        writer.write(b"last")

    async with origin(old_school) as port, client(proxy.port) as browser:
        answer = await browser.ask(get(port))
        assert answer.head == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
        assert answer.body == b"first last"


async def test_an_old_client_gets_no_chunks(proxy: ProxyServer) -> None:
    async def modern(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    async with origin(modern) as port, client(proxy.port) as old:
        answer = await old.ask(f"GET / HTTP/1.0\r\nHost: {port}-{SANDBOX}.localhost\r\nConnection: keep-alive\r\n\r\n".encode())
        assert answer.header("transfer-encoding") is None
        assert answer.body == b"abcde"


async def test_expect_continue_travels_to_the_origin_and_back(proxy: ProxyServer) -> None:
    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Expect: 100-continue\r\n" in await read_head(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with origin(careful) as port, client(proxy.port) as curl:
        interim = await curl.ask(get(port, method="PUT", extra="Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert interim.status == 100
        await curl.send(b"hello")
        assert (await read_answer(curl.reader)).status == 103
        assert (await read_answer(curl.reader)).body == b"hello"


async def test_a_refused_expectation_ends_the_connection(proxy: ProxyServer) -> None:
    async with client(proxy.port) as curl:
        answer = await curl.ask(get(80, sandbox_id="iunknown", method="PUT", extra="Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert (answer.status, answer.header("connection")) == (502, "close")
        assert await curl.reader.read() == b""


async def test_a_refused_upload_leaves_the_connection_usable(proxy: ProxyServer) -> None:
    async with client(proxy.port) as curl:
        answer = await curl.ask(get(80, sandbox_id="iunknown", method="POST", extra="Content-Length: 5\r\n"))
        assert answer.status == 502
        await curl.send(b"hel")
        again = await curl.ask(b"lo" + get(80, sandbox_id="iunknown"))
        assert again.status == 502


async def test_half_close_still_gets_the_answer(proxy: ProxyServer) -> None:
    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.read() == b""  # sees the same end of sending
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with origin(patient) as port, client(proxy.port) as netcat:
        await netcat.send(get(port))
        netcat.writer.write_eof()
        assert (await read_answer(netcat.reader)).body == b"late"
        assert await netcat.reader.read() == b""


async def test_connections_are_reused_and_never_across_sandboxes() -> None:
    connections: dict[str, int] = {}

    def named(name: str):  # type: ignore[no-untyped-def]
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections[name] = connections.get(name, 0) + 1
            while True:
                await read_head(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name.encode()))

        return serve

    table = RouteTable(_ALWAYS_REUSE)
    server = sandbox_proxy(table, host="127.0.0.1", port=0)
    await server.start()
    async with origin(named("one")) as port_one, origin(named("two")) as port_two:
        table.add(route_to("ione", real_port=port_one))
        table.add(route_to("itwo", real_port=port_two))

        async def visit(number: int) -> None:
            async with client(server.port) as browser:
                for turn in range(20):
                    name = ("one", "two")[(number + turn) % 2]
                    answer = await browser.ask(get(8080, sandbox_id="i" + name))
                    assert answer.body == name.encode()

        await asyncio.gather(*(visit(number) for number in range(8)))
    await server.stop()
    assert 1 <= connections["one"] <= 8
    assert 1 <= connections["two"] <= 8


async def test_a_stale_connection_is_replaced_without_the_client_noticing() -> None:
    accepted = 0

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await read_head(reader)  # takes the next request and drops it with the connection

    table = RouteTable(_ALWAYS_REUSE)
    table.add(route_to())
    server = sandbox_proxy(table, host="127.0.0.1", port=0)
    await server.start()
    async with origin(forgetful) as port, client(server.port) as browser:
        answers: list[Answer] = [await browser.ask(get(port)) for _ in range(4)]
    await server.stop()
    assert [answer.body for answer in answers] == [b"ok"] * 4
    assert accepted == 4


async def test_each_request_has_its_own_connection_while_traffic_is_low(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port, client(proxy.port) as browser:
        answer = await browser.ask(get(port))
        assert b"Connection: close\r\n" in answer.body


async def test_a_thousand_clients_at_once(proxy: ProxyServer) -> None:
    async with origin(_echo_head) as port:

        async def visit(number: int) -> None:
            async with client(proxy.port) as browser:
                for _ in range(2):
                    answer = await browser.ask(get(port, f"/{number}"))
                    assert answer.body.startswith(f"GET /{number} ".encode())

        await asyncio.gather(*(visit(number) for number in range(1000)))
