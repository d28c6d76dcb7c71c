"""§7.2: what the catalog says, and what is said when it does not."""

from __future__ import annotations

import asyncio

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.orchestrator.wiring import _PROXY_IDLE_SECONDS
from sandbank.proxy.limits import ProxyLimits
from sandbank.proxy.origin import NODE_POLICY
from sandbank.proxy.server import ProxyServer
from sandbank.state.catalog import CatalogEntry, MemoryCatalog
from tests.integration.client_proxy.conftest import Api
from tests.integration.proxy.wire import client, get


class _SilentCatalog(MemoryCatalog):
    """A store that takes questions and never answers."""

    find_now = None  # type: ignore[assignment]

    async def find(self, sandbox_id: str) -> CatalogEntry | None:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_catalog_that_does_not_answer_is_not_found_in_time_and_wakes_nobody(node: ProxyServer, api: Api) -> None:
    """§7.2: 1 s at most, then not found; the API is asked about misses, not about failures."""
    assert ClientProxySettings().catalog_timeout_seconds == 1.0
    settings = ClientProxySettings(
        client_proxy_port=0,
        health_port=None,
        edge_port=None,
        orchestrator_proxy_port=node.port,
        catalog_timeout_seconds=0.1,
        api_grpc_address=api.address,
    )
    service = build(settings, routes=None, catalog=_SilentCatalog())
    await service.start()
    async with client(service.traffic.port) as browser, asyncio.timeout(20):
        answer = await browser.ask(get(80))
    await service.stop()
    assert (answer.status, b"was not found" in answer.body) == (502, True)
    assert api.asked == []


def test_each_hop_keeps_connections_a_little_longer_than_the_one_before_it_uses_them() -> None:
    """§7.2, §7.6: pool 610 s, client proxy 620 s, node 630 s: nobody sends into a connection that is just being closed."""
    assert NODE_POLICY.idle_seconds < ProxyLimits().idle_timeout_seconds < _PROXY_IDLE_SECONDS
    assert (NODE_POLICY.idle_seconds, ProxyLimits().idle_timeout_seconds, _PROXY_IDLE_SECONDS) == (610.0, 620.0, 630.0)
    assert NODE_POLICY.retry_pauses_seconds == ()  # one attempt
