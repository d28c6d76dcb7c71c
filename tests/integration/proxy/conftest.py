"""A sandbox proxy on the event loop that the product uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer, sandbox_proxy
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
async def proxy(routes: RouteTable, limits: ProxyLimits) -> AsyncIterator[ProxyServer]:
    server = sandbox_proxy(routes, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    yield server
    await server.stop()
