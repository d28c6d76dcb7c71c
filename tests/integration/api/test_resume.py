"""Data-plane §7.4 over the wire: the internal gRPC port of a live API."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sandbank.client_proxy.settings import ClientProxySettings
from sandbank.client_proxy.wiring import build
from sandbank.domain.errors import InvalidError, NotFoundError, UnavailableError
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import sandbox_proxy
from sandbank.rpc.resume import Knock, ResumeClient
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import LiveApi, free_port
from tests.integration.api.test_sandboxes import create
from tests.integration.proxy.wire import client, get, origin, read_head, route_to


@pytest.fixture
async def resume(api: LiveApi) -> AsyncIterator[ResumeClient]:
    """A client of the API's internal port."""
    api.settings.internal_grpc_port = free_port()
    await api.restart()
    client = ResumeClient(f"127.0.0.1:{api.settings.internal_grpc_port}")
    yield client
    await client.close()


async def test_a_sandbox_that_the_catalog_lost_is_found_again(api: LiveApi, resume: ResumeClient) -> None:
    """§7.4, step 3: its node's address, and the catalog knows it from then on."""
    sandbox_id = (await create(api))["sandboxID"]
    entry = await api.catalog.find(sandbox_id)
    assert entry is not None
    await api.catalog.remove(sandbox_id, entry.execution_id)
    assert await resume.resume(Knock(sandbox_id, 8080), 10) == "127.0.0.1"
    assert await api.catalog.find(sandbox_id) == entry


async def test_a_sandbox_that_was_killed_or_never_was_is_not_found(api: LiveApi, resume: ResumeClient) -> None:
    """§7.4, step 1."""
    sandbox_id = (await create(api))["sandboxID"]
    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    for missing in (sandbox_id, "inobody", ""):
        with pytest.raises(NotFoundError):
            await resume.resume(Knock(missing, 8080), 10)
    assert await api.catalog.find(sandbox_id) is None


async def test_a_call_without_a_port_is_wrong(api: LiveApi, resume: ResumeClient) -> None:
    """§7.4: the port is part of the call's metadata."""
    with pytest.raises(InvalidError):
        await resume.resume(Knock("i", -1), 10)


async def test_a_taken_internal_port_is_named(api: LiveApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        api.settings.internal_grpc_port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"internal gRPC .* port {api.settings.internal_grpc_port}"):
            await api.restart()
    api.settings.internal_grpc_port = None
    await api.restart()


async def test_a_client_proxy_that_shares_nothing_with_the_api_finds_sandboxes_by_asking(api: LiveApi, resume: ResumeClient) -> None:
    """§7.2 to §7.6 in a row: miss, call, node, sandbox; and not found as soon as it is killed."""

    async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    sandbox_id = (await create(api))["sandboxID"]
    routes = RouteTable()
    routes.add(route_to(sandbox_id))
    node = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await node.start()
    settings = ClientProxySettings(
        client_proxy_port=0,
        health_port=None,
        edge_port=None,
        orchestrator_proxy_port=node.port,
        api_grpc_address=f"127.0.0.1:{api.settings.internal_grpc_port}",
    )
    proxy = build(settings, routes=None, catalog=MemoryCatalog())
    await proxy.start()
    try:
        async with origin(ok) as port, client(proxy.traffic.port) as browser:
            assert (await browser.ask(get(port, sandbox_id=sandbox_id))).body == b"ok"
            assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
            answer = await browser.ask(get(port, sandbox_id=sandbox_id))
            assert (answer.status, b"was not found" in answer.body) == (502, True)
    finally:
        await proxy.stop()
        await node.stop()


@pytest.mark.parametrize("one_process", [True, False])
async def test_traffic_wakes_a_paused_sandbox(api: LiveApi, resume: ResumeClient, one_process: bool) -> None:
    """rest-api contract §11: with the credentials that its port asks for, once, and the request that woke it is answered."""
    sandbox_id = (await create(api, autoPause=True, autoResume={"enabled": True}, network={"allowPublicTraffic": False}))["sandboxID"]
    traffic_token = api.node.created[0].sandbox.network.ingress.traffic_access_token
    routes = RouteTable()
    api.node.on_create = lambda created: routes.add(route_to(created, token=traffic_token))
    node = sandbox_proxy(routes, host="127.0.0.1", port=0)
    await node.start()
    settings = ClientProxySettings(
        client_proxy_port=0,
        health_port=None,
        edge_port=None,
        orchestrator_proxy_port=node.port,
        api_grpc_address=f"127.0.0.1:{api.settings.internal_grpc_port}",
    )
    proxy = build(settings, routes=routes if one_process else None, catalog=MemoryCatalog())
    await proxy.start()

    async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def ask(port: int, token: str) -> tuple[int, bytes]:
        async with client(proxy.traffic.port) as browser:
            answer = await browser.ask(get(port, sandbox_id=sandbox_id, extra=f"e2b-traffic-access-token: {token}\r\n"))
            return answer.status, answer.body

    try:
        async with origin(ok) as port:
            assert (await api.client.post(f"/sandboxes/{sandbox_id}/pause")).status_code == 204
            assert (await ask(port, "wrong"))[0] == 403
            assert len(api.node.created) == 1
            assert await asyncio.gather(*(ask(port, traffic_token) for _ in range(5))) == [(200, b"ok")] * 5
            assert len(api.node.created) == 2
    finally:
        await proxy.stop()
        await node.stop()


async def test_a_paused_sandbox_that_traffic_is_not_to_wake_is_not_found(api: LiveApi, resume: ResumeClient) -> None:
    sandbox_id = (await create(api, autoPause=True))["sandboxID"]
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/pause")).status_code == 204
    with pytest.raises(NotFoundError, match="sandbox auto-resume disabled"):
        await resume.resume(Knock(sandbox_id, 8080), 10)
