"""A sandbox proxy on the event loop that the product uses, alone or behind a client proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from sandbank.client_proxy.adapters.nodes import NodeResolver
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
from tests.integration.proxy.hops import NODE, EverythingIsHere
from tests.integration.proxy.wire import route_to


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the product runs on; its transports differ from asyncio's in every corner that matters here."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def routes() -> RouteTable:
    table = RouteTable()
    table.add(route_to())
    return table


@pytest.fixture
def limits() -> ProxyLimits:
    return ProxyLimits()


@pytest.fixture
async def node(routes: RouteTable, limits: ProxyLimits) -> AsyncIterator[ProxyServer]:
    """The node's proxy, where sandboxes are."""
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def proxy(request: pytest.FixtureRequest, node: ProxyServer, limits: ProxyLimits) -> AsyncIterator[ProxyServer]:
    """What the test talks to: the node's proxy, or where a module asks for both ways (`hops.both_ways`) a client proxy before it."""
    if getattr(request, "param", NODE) == NODE:
        yield node
        return
    resolver = NodeResolver(EverythingIsHere(), port=node.port, timeout_seconds=1.0)
    server = ProxyServer("client-proxy", resolver, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    yield server
    await server.stop()
