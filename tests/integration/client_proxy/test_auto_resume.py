"""§7.2, §7.4: a sandbox that the catalog does not know, from the client's request to the API's answer and on to the node."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, InternalError, NotFoundError
from sandbank.proxy.server import ProxyServer
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from tests.integration.client_proxy.conftest import Api
from tests.integration.proxy.wire import SANDBOX, client, get, origin, read_answer, read_head, reset_on_close


class StoredCatalog(MemoryCatalog):
    """A catalog that takes a turn of the event loop, as a store on another machine does."""

    find_now = None  # type: ignore[assignment]


@pytest.fixture(params=[MemoryCatalog, StoredCatalog])
def catalog(request: pytest.FixtureRequest) -> MemoryCatalog:
    made: MemoryCatalog = request.param()
    return made


@asynccontextmanager
async def _client_proxy(node: ProxyServer, catalog: MemoryCatalog, **settings: Any) -> AsyncIterator[int]:
    values = {"client_proxy_port": 0, "health_port": None, "edge_port": None, "drain_seconds": 0.2, "orchestrator_proxy_port": node.port}
    service = build(ClientProxySettings(**(values | settings)), routes=None, catalog=catalog)
    await service.start()
    try:
        yield service.traffic.port
    finally:
        await service.stop()


async def _ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await read_head(reader)
        if b"content-length" in head.lower():
            await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_a_miss_asks_the_api_with_port_and_tokens_and_goes_on_to_the_node(
    node: ProxyServer, api: Api, catalog: MemoryCatalog
) -> None:
    """§7.4: metadata and the outcome OK."""
    tokens = "E2B-Traffic-Access-Token: traffic\r\nX-Access-Token: agent\r\n"
    async with origin(_ok) as port, _client_proxy(node, catalog, api_grpc_address=api.address) as proxy, client(proxy) as browser:
        assert (await browser.ask(get(port))).body == b"ok"
        assert (await browser.ask(get(port, extra=tokens))).body == b"ok"
    assert api.asked == [
        (SANDBOX, {"e2b-sandbox-request-port": str(port)}),
        (
            SANDBOX,
            {"e2b-sandbox-request-port": str(port), "e2b-traffic-access-token": "traffic", "e2b-envd-access-token": "agent"},
        ),
    ]


async def test_a_hit_asks_nobody(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """§7.2: the API is no part of the way to a sandbox that the catalog knows."""
    await catalog.put(CatalogEntry(SANDBOX, "execution-1", "node-1", "127.0.0.1", datetime.now(UTC), 24))
    async with origin(_ok) as port, _client_proxy(node, catalog, api_grpc_address=api.address) as proxy, client(proxy) as browser:
        assert (await browser.ask(get(port))).body == b"ok"
        await catalog.put(CatalogEntry(SANDBOX, "execution-2", "node-1", "", datetime.now(UTC), 24))
        assert b"was not found" in (await browser.ask(get(port))).body
    assert api.asked == []


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (NotFoundError("sandbox auto-resume disabled"), 502, "The sandbox was not found"),
        (
            DeniedError("permission denied"),
            403,
            "This sandbox can't be resumed with the credentials provided. Check your access token and try again.",
        ),
        (ConflictError("sandbox is still transitioning"), 409, "The sandbox is still transitioning. Try again in a moment."),
        (ConflictError("filesystem-only snapshot must be resumed explicitly"), 502, "The sandbox was not found"),
        (ExhaustedError("Rate limit of 20 sandboxes"), 429, "Rate limit of 20 sandboxes"),
        (InternalError("broken"), 502, "The sandbox was not found"),
        (RuntimeError("a bug in the API"), 502, "The sandbox was not found"),
        ("", 502, "The sandbox was not found"),
    ],
)
async def test_each_status_of_the_call_has_its_page(
    node: ProxyServer, api: Api, outcome: str | Exception, status: int, message: str
) -> None:
    """§7.4, the outcome table, over the wire; §7.5, both faces."""
    api.outcome = outcome
    async with _client_proxy(node, MemoryCatalog(), api_grpc_address=api.address) as proxy, client(proxy) as browser:
        answer = await browser.ask(get(80))
        page = await browser.ask(get(80, extra="User-Agent: Mozilla/5.0\r\nSec-Fetch-Mode: navigate\r\n"))
    assert answer.status == page.status == status
    assert json.loads(answer.body) == {"sandboxId": SANDBOX, "message": message, "code": status}
    assert page.body.startswith(b"<html")
    assert SANDBOX.encode() in page.body


async def test_without_an_api_address_there_is_no_auto_resume(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """§7.2."""
    for address in (None, ""):
        async with _client_proxy(node, catalog, api_grpc_address=address) as proxy, client(proxy) as browser:
            assert (await browser.ask(get(80))).status == 502
    assert api.asked == []


async def test_an_api_that_is_down_is_not_found_and_no_hang(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """§7.4: everything else → 502; and once it is up again it is asked again."""
    await api.stop()
    async with _client_proxy(node, catalog, api_grpc_address=api.address) as proxy, client(proxy) as browser:
        async with asyncio.timeout(20):
            for _ in range(3):
                assert b"was not found" in (await browser.ask(get(80))).body


async def test_an_api_that_never_answers_is_not_waited_for_for_ever(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """Bounded waiting: one that takes the call and is silent, one whose port takes no gRPC at all."""
    api.gate.clear()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for address in (api.address, f"127.0.0.1:{mute.getsockname()[1]}"):
            async with (
                _client_proxy(node, catalog, api_grpc_address=address, resume_timeout_seconds=0.3) as proxy,
                client(proxy) as browser,
                asyncio.timeout(20),
            ):
                assert b"was not found" in (await browser.ask(get(80))).body


async def test_many_requests_for_one_sandbox_are_one_call(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """Concurrent requests share it; uploads wait meanwhile and lose nothing."""
    api.gate.clear()
    at_the_gate = asyncio.Barrier(51)
    async with origin(_ok) as port, _client_proxy(node, catalog, api_grpc_address=api.address) as proxy:

        async def visit() -> bytes:
            async with client(proxy) as browser:
                await browser.send(get(port, method="PUT", extra="Content-Length: 5\r\n") + b"hel")
                await at_the_gate.wait()
                return (await browser.ask(b"lo")).body

        visits = [asyncio.ensure_future(visit()) for _ in range(50)]
        await at_the_gate.wait()
        for _ in range(2):  # whoever came before has been read once these are answered
            async with client(proxy) as last:
                assert (await last.ask(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")).status == 400
        api.gate.set()
        assert await asyncio.gather(*visits) == [b"ok"] * 50
    assert len(api.asked) == 1


async def test_a_client_that_leaves_ends_the_call_that_was_made_for_it(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    api.gate.clear()
    async with _client_proxy(node, catalog, api_grpc_address=api.address) as proxy:
        async with client(proxy) as browser:
            await browser.send(get(80))
            while not api.asked:
                await asyncio.sleep(0.01)
            reset_on_close(browser.writer)  # one that only stops sending would still wait for its answer
        async with asyncio.timeout(10):
            await api.cancelled.wait()


async def test_an_upload_to_a_sleeping_sandbox_waits_in_the_client(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    """Bounded memory: what is sent before there is a route stays where it is."""
    api.gate.clear()
    async with _client_proxy(node, catalog, api_grpc_address=api.address) as proxy, client(proxy) as uploader:
        await uploader.send(get(80, method="PUT", extra="Content-Length: 50000000\r\n"))
        uploader.writer.write(bytes(50_000_000))
        await asyncio.sleep(0.5)
        assert uploader.writer.transport.get_write_buffer_size() > 30_000_000
        api.outcome = NotFoundError("none")
        api.gate.set()
        assert (await read_answer(uploader.reader)).status == 502


async def test_tokens_that_no_call_can_carry_are_refused_like_wrong_ones(node: ProxyServer, api: Api) -> None:
    """A long or binary token must neither break the call nor pass for a limit of the team."""
    api.outcome = DeniedError("permission denied")
    async with _client_proxy(node, MemoryCatalog(), api_grpc_address=api.address) as proxy, client(proxy) as browser:
        for token in ("x" * 60_000, "t\xf6ken"):
            request = get(80, extra="X-Access-Token: ").removesuffix(b"\r\n") + token.encode("latin-1") + b"\r\n\r\n"
            assert (await browser.ask(request)).status == 403
    assert all("e2b-envd-access-token" not in metadata for _, metadata in api.asked)


async def test_stopping_does_not_wait_for_the_api(node: ProxyServer, api: Api, catalog: MemoryCatalog) -> None:
    api.gate.clear()
    async with _client_proxy(node, catalog, api_grpc_address=api.address) as proxy, client(proxy) as browser:
        await browser.send(get(80))
        while not api.asked:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await api.cancelled.wait()
