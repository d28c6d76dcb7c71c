"""§7.5, §7.6: how many requests a sandbox may have in progress, counted per lifecycle and given back whatever ends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, client, get, origin, read_answer, read_head, reset_on_close, route_to


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


@pytest.fixture
def routes() -> RouteTable:
    table = RouteTable(max_connections=2)
    table.add(route_to())
    return table


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stream that its client has to end."""
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    with contextlib.suppress(OSError):
        await reader.read()


def _load(routes: RouteTable) -> int:
    return routes._entries[SANDBOX].load.requests


async def _settled(routes: RouteTable, expected: int = 0) -> None:
    async with asyncio.timeout(10):
        while _load(routes) != expected:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _streams(proxy: ProxyServer, port: int, count: int) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            watcher = await stack.enter_async_context(client(proxy.port))
            await watcher.send(get(port))
            await read_head(watcher.reader)
        yield


async def test_one_too_many_gets_the_page_with_the_limit_in_json_and_html(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.5: 429, `connectionLimit`, the exact text and the title."""
    async with origin(_hold) as port:
        async with _streams(proxy, port, 2), client(proxy.port) as browser:
            answer = await browser.ask(get(port))
            assert answer.status == 429
            assert json.loads(answer.body) == {
                "sandboxId": SANDBOX,
                "message": "The sandbox has too many concurrent incoming connections (limit: 2)",
                "code": 429,
                "connectionLimit": 2,
            }
            page = await browser.ask(get(port, extra="User-Agent: Mozilla/5.0\r\n"))
            assert (page.status, page.header("content-type")) == (429, "text/html; charset=utf-8")
            assert b"<title>Too Many Connections</title>" in page.body
            assert (await browser.ask(get(49983, "/health"))).status == 429  # all ports of a sandbox count together
        await _settled(routes)


async def test_another_sandbox_is_not_affected(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: counted per lifecycle, not per node."""
    async with origin(_hold) as port, origin(_answer) as other:
        routes.add(route_to("iother", real_port=other))
        async with _streams(proxy, port, 2), client(proxy.port) as browser:
            assert (await browser.ask(get(80, sandbox_id="iother"))).body == b"ok"


async def test_a_new_lifecycle_begins_at_zero(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: what an earlier execution left open does not count."""
    async with origin(_hold) as port, origin(_answer) as other, _streams(proxy, port, 2), client(proxy.port) as browser:
        routes.add(route_to(real_port=other))
        assert (await browser.ask(get(80))).body == b"ok"
        await _settled(routes)


async def test_a_place_is_free_as_soon_as_its_answer_has_ended(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: pipelined requests one after the other never meet their own predecessor."""
    routes.max_connections = 1
    async with origin(_answer) as port, client(proxy.port) as eager:
        await eager.send(get(port) * 300)
        for _ in range(300):
            assert (await read_answer(eager.reader)).status == 200
    await _settled(routes)


async def test_an_idle_connection_takes_no_place(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: clients keep connections; only what is asked on them counts."""
    async with origin(_answer) as port, contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            browser = await stack.enter_async_context(client(proxy.port))
            assert (await browser.ask(get(port))).status == 200


async def test_a_request_that_waits_for_its_port_takes_a_place_until_the_page(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: through all attempts to dial."""
    async with client(proxy.port) as one, client(proxy.port) as two, client(proxy.port) as three:
        await one.send(get(1))
        await two.send(get(1))
        await _settled(routes, 2)
        assert (await three.ask(get(1))).status == 429
        assert [(await read_answer(waiting.reader)).status for waiting in (one, two)] == [502, 502]
        assert _load(routes) == 0


async def test_clients_that_leave_at_any_moment_give_their_places_back(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: while dialling, before the head, inside a body, inside an upload."""
    routes.max_connections = 1000

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        with contextlib.suppress(OSError):
            await reader.read()

    async with origin(slow) as mute, origin(_hold) as stream:
        for request in (get(1), get(mute), get(stream), get(mute, method="PUT", extra="Content-Length: 1000000\r\n") + b"x" * 1000):
            for pause_seconds in (0.0, 0.0, 0.001, 0.02):
                async with client(proxy.port) as visitor:
                    await visitor.send(request)
                    await asyncio.sleep(pause_seconds)
        await _settled(routes)


async def test_a_tunnel_takes_its_place_until_both_sides_have_ended(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: upgrades count for as long as they last."""
    go_on = asyncio.Event()

    async def switcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        await reader.read()
        await go_on.wait()
        writer.write(b"bye")

    async with origin(switcher) as port, client(proxy.port) as tunnel:
        await tunnel.send(get(port, extra="Connection: Upgrade\r\nUpgrade: tcp\r\n"))
        await read_head(tunnel.reader)
        tunnel.writer.write_eof()
        await asyncio.sleep(0.05)
        assert _load(routes) == 1
        go_on.set()
        assert await tunnel.reader.read() == b"bye"
    await _settled(routes)


async def test_an_upload_that_outlives_its_answer_takes_no_place(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: once the answer is complete nothing of the request goes to the sandbox any more."""
    async with origin(_answer) as port, client(proxy.port) as sdk:
        await sdk.send(get(port, method="PUT", extra="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n")
        assert (await read_answer(sdk.reader)).body == b"ok"
        await _settled(routes)
        await sdk.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await sdk.ask(get(port))).body == b"ok"


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
@pytest.mark.parametrize("hard", [True, False])
async def test_origins_that_break_off_give_the_place_back(proxy: ProxyServer, routes: RouteTable, answer: bytes, hard: bool) -> None:
    """§7.6: cuts, refusals and nonsense."""

    async def fragile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        await writer.drain()
        if hard:
            reset_on_close(writer)

    async with origin(fragile) as port:
        for _ in range(5):
            async with client(proxy.port) as browser:
                await browser.send(get(port))
                with contextlib.suppress(OSError):
                    await browser.reader.read(65536)
        await _settled(routes)


async def test_reused_connections_count_while_they_are_used(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: also past the rate at which connections are kept, and when a kept one turns out to be stale."""
    accepted = 0

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        for _ in range(10):
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await read_head(reader)  # takes one more and drops it with the connection

    routes.max_connections = 1
    async with origin(forgetful) as port, client(proxy.port) as browser:
        for _ in range(150):
            assert (await browser.ask(get(port))).body == b"ok"
        assert accepted < 150
        await _settled(routes)


async def test_minus_one_is_no_limit(proxy: ProxyServer, routes: RouteTable) -> None:
    """§7.6: −1 = unlimited."""
    routes.max_connections = -1
    async with origin(_hold) as port, _streams(proxy, port, 50):
        assert _load(routes) == 50
