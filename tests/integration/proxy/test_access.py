"""Traffic tokens, masked hosts, control routes (§7.6, §7.7), and both hops together (§7.2)."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime

import pytest

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from tests.integration.proxy.hops import both_ways
from tests.integration.proxy.wire import SANDBOX, Endless, client, get, origin, read_head, route_to


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways(metafunc)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


async def test_traffic_token(proxy: ProxyServer, routes: RouteTable) -> None:
    async with origin(_echo) as port, client(proxy.port) as browser:
        routes.add(route_to(token="secret", real_port=port))
        missing = await browser.ask(get(8080))
        assert (missing.status, json.loads(missing.body)) == (
            403,
            {
                "sandboxId": SANDBOX,
                "message": "Sandbox is secured with traffic access token. Token header 'e2b-traffic-access-token' is missing",
                "code": 403,
            },
        )
        wrong = await browser.ask(get(8080, extra="E2B-Traffic-Access-Token: secres\r\n"))
        assert "is invalid" in json.loads(wrong.body)["message"]
        right = await browser.ask(get(8080, extra="E2B-Traffic-Access-Token: secret\r\n"))
        assert b"E2B-Traffic-Access-Token: secret\r\n" in right.body
        assert (await browser.ask(get(49983, "/health"))).status == 200  # the agent has a token of its own


async def test_masked_host(proxy: ProxyServer, routes: RouteTable) -> None:
    async with origin(_echo) as port, client(proxy.port) as browser:
        routes.add(route_to(mask="custom.example.com:${PORT}", real_port=port))
        answer = await browser.ask(get(8080))
        assert b"\r\nHost: custom.example.com:8080\r\n" in answer.body
        assert f"\r\nX-Forwarded-Host: 8080-{SANDBOX}.localhost\r\n".encode() in answer.body
        agent = await browser.ask(get(49983))
        assert f"\r\nHost: 49983-{SANDBOX}.localhost\r\n".encode() in agent.body
    with pytest.raises(InvalidError):
        routes.add(route_to(mask="a\r\nX-Evil: 1"))


async def test_control_routes_of_the_agent_are_hidden(proxy: ProxyServer, routes: RouteTable) -> None:
    async with origin(_echo) as port, client(proxy.port) as browser:
        routes.add(route_to(real_port=port))
        for path in ("/init", "//init", "/./init", "/x/../init", "/%69nit", "/init/", "/init?a=1"):
            answer = await browser.ask(get(49983, path, method="POST"))
            assert (answer.status, json.loads(answer.body)["path"]) == (404, "/init"), path
        assert (await browser.ask(get(49983, "/init", sandbox_id="iunknown"))).status == 404  # reveals nothing
        assert (await browser.ask(get(8080, "/init"))).status == 200
        assert (await browser.ask(get(49983, "/initial"))).status == 200


async def test_people_get_a_page(proxy: ProxyServer) -> None:
    async with client(proxy.port) as browser:
        answer = await browser.ask(get(8080, sandbox_id="ione", extra="User-Agent: Mozilla/5.0\r\nAccept: text/html\r\n"))
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.body.startswith(b"<html")
    assert answer.body.endswith(b"</html>")
    assert b"Sandbox Not Found" in answer.body
    assert b"ione" in answer.body


def _client_proxy_settings(node_port: int = 5007) -> ClientProxySettings:
    return ClientProxySettings(client_proxy_port=0, health_port=0, edge_port=0, drain_seconds=0.5, orchestrator_proxy_port=node_port)


def _entry(ip: str) -> CatalogEntry:
    return CatalogEntry(SANDBOX, "execution-1", "node-1", ip, datetime.now(UTC), 24)


async def test_two_hops(routes: RouteTable, node: ProxyServer) -> None:
    catalog = MemoryCatalog()
    service = build(_client_proxy_settings(node.port), routes=None, catalog=catalog)
    await service.start()
    async with origin(_echo) as port, client(service.traffic.port) as browser:
        assert b"was not found" in (await browser.ask(get(port))).body
        await catalog.put(_entry("127.0.0.1"))
        answer = await browser.ask(get(port))
        assert f"Host: {port}-{SANDBOX}.localhost".encode() in answer.body
        shared = (
            f"GET / HTTP/1.1\r\nHost: sandbox.example.com:8443\r\nE2b-Sandbox-Id: {SANDBOX}\r\nE2b-Sandbox-Port: {port}\r\n\r\n".encode()
        )
        assert f"Host: {port}-{SANDBOX}.example.com:8443\r\n".encode() in (await browser.ask(shared)).body
        assert b"port is not open" in (await browser.ask(get(1))).body
        routes.remove(SANDBOX)
        assert b"was not found" in (await browser.ask(get(port))).body
        await node.stop()
        unreachable = await browser.ask(get(port))
        assert (unreachable.status, unreachable.body) == (502, b"Failed to route request to sandbox\n")
        await catalog.put(_entry(""))
        assert b"was not found" in (await browser.ask(get(port))).body
    await service.stop()


async def test_a_cut_travels_through_both_hops(routes: RouteTable, node: ProxyServer) -> None:
    endless = Endless()
    catalog = MemoryCatalog()
    await catalog.put(_entry("127.0.0.1"))
    service = build(_client_proxy_settings(node.port), routes=None, catalog=catalog)
    await service.start()
    async with origin(endless) as port, client(service.traffic.port) as browser:
        await browser.send(get(port))
        await read_head(browser.reader)
        assert await browser.reader.readexactly(5) == b"hello"
        routes.remove(SANDBOX)
        with pytest.raises(ConnectionResetError):
            await browser.reader.read()
    await service.stop()


class _BrokenCatalog(MemoryCatalog):
    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        raise UnavailableError("no store")

    find_now = None  # type: ignore[assignment]


async def test_a_catalog_that_fails_is_not_found() -> None:
    service = build(_client_proxy_settings(), routes=None, catalog=_BrokenCatalog())
    await service.start()
    async with client(service.traffic.port) as browser:
        answer = await browser.ask(get(80))
    await service.stop()
    assert (answer.status, b"was not found" in answer.body) == (502, True)


async def test_one_hop_names_the_sandbox_in_the_host(routes: RouteTable) -> None:
    service = build(_client_proxy_settings(), routes=routes, catalog=MemoryCatalog())
    await service.start()
    async with origin(_echo) as port, client(service.traffic.port) as sdk:
        answer = await sdk.ask(
            f"GET / HTTP/1.1\r\nHost: sandbox.example.com\r\nE2b-Sandbox-Id: {SANDBOX}\r\nE2b-Sandbox-Port: {port}\r\n\r\n".encode()
        )
    await service.stop()
    assert f"Host: {port}-{SANDBOX}.example.com\r\n".encode() in answer.body


async def test_health_and_edge(routes: RouteTable) -> None:
    settings = _client_proxy_settings()
    settings.edge_secret = type(settings.edge_secret)("key")
    service = build(settings, routes=routes, catalog=MemoryCatalog())
    await service.start()
    health, edge = (server.port for server in service._others)
    async with client(health) as balancer, client(edge) as operator:
        answer = await balancer.ask(b"GET /any/path HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.body) == (200, b"healthy")
        assert (await operator.ask(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        info = json.loads((await operator.ask(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n")).body)
        assert info["serviceStatus"] == "healthy"
        assert (await operator.ask(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")).status == 401
        assert (await operator.ask(b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-API-Key: key\r\n\r\n")).status == 404
        service._readiness.ready = False
        assert (await balancer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"unhealthy"
        assert (await operator.ask(b"GET /health/traffic HTTP/1.1\r\nHost: x\r\n\r\n")).status == 503
    await service.stop()


async def test_a_taken_port_is_named(routes: RouteTable) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    server = sandbox_proxy(routes, host="127.0.0.1", port=port)
    with pytest.raises(UnavailableError, match=str(port)):
        await server.start()
    await server.stop()
    taken.close()


async def test_stopping_lets_requests_end(routes: RouteTable) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await server.start()
    async with origin(slow) as port, client(server.port) as browser, client(server.port) as idler:
        await browser.send(get(port))
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(server.stop())
        assert await idler.reader.read() == b""
        go_on.set()
        head = await read_head(browser.reader)
        assert b"Connection: close\r\n" in head
        assert await browser.reader.read() == b"ok"
        await stopping
