"""An API whose nodes come and go while it serves, found by the documented HTTP API of Nomad, which the test answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import pytest_asyncio

from sandbank.api.background import node_watcher
from sandbank.api.wiring import build
from sandbank.discovery.settings import DiscoverySettings
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import LiveApi
from tests.integration.api.grpc_node import GrpcNode

CREATES = 300


class Nomad:
    """`GET /v1/service/orchestrator`."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = [{"Address": host, "Port": int(port)} for host, _, port in (one.partition(":") for one in outer.addresses)]
                body = json.dumps(found if self.path == "/v1/service/orchestrator" else []).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def nomad() -> Iterator[Nomad]:
    nomad = Nomad()
    thread = threading.Thread(target=nomad.server.serve_forever, args=(0.01,))
    thread.start()
    yield nomad
    nomad.server.shutdown()
    thread.join()
    nomad.server.server_close()


@pytest_asyncio.fixture
async def fleet() -> AsyncIterator[list[GrpcNode]]:
    nodes = [GrpcNode(f"n{number}") for number in range(3)]
    for node, cpus in zip(nodes, (2, 4, 8), strict=True):
        node.service_id, node.cpu_count = f"process of {node.node_id}", cpus
        await node.start()
    yield nodes
    for node in nodes:
        await node.stop()


@pytest_asyncio.fixture
async def client(api: LiveApi, nomad: Nomad, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    monkeypatch.setattr(node_watcher, "_DISCOVERY_SECONDS", 0.1)
    monkeypatch.setattr(node_watcher, "_GONE_SECONDS", 1.0)
    await api.service.stop()
    found = DiscoverySettings(discovery=("nomad",), discovery_nomad_url=nomad.url)
    api.catalog = MemoryCatalog()
    api.service = build(api.settings, catalog=api.catalog, discovery=found)
    await api.service.start()
    return api.client


async def created(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/sandboxes", json={"templateID": "base", "timeout": 300})


async def is_created(client: httpx.AsyncClient) -> str:
    async with asyncio.timeout(20):
        while (answer := await created(client)).status_code != 201:
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.05)
    return str(answer.json()["sandboxID"])


async def test_a_node_that_comes_is_used_and_what_ran_on_one_that_is_gone_has_ended(
    client: httpx.AsyncClient, nomad: Nomad, fleet: list[GrpcNode]
) -> None:
    refused = await created(client)
    assert (refused.status_code, refused.json()["code"]) == (503, 503)
    nomad.addresses = [fleet[0].address]
    sandbox_id = await is_created(client)
    assert sandbox_id in fleet[0].sandboxes
    nomad.addresses = [fleet[1].address]
    async with asyncio.timeout(20):
        while not fleet[1].created:  # the first answers still, and gets nothing new
            await is_created(client)
    assert (await client.get(f"/sandboxes/{sandbox_id}")).status_code == 200
    before = len(fleet[0].created)
    await is_created(client)
    assert len(fleet[0].created) == before
    await fleet[0].stop()

    async with asyncio.timeout(20):
        while (await client.get(f"/sandboxes/{sandbox_id}")).status_code != 404:
            await asyncio.sleep(0.1)
        while {sandbox["sandboxID"] for sandbox in (await client.get("/sandboxes")).json()} != set(fleet[1].sandboxes):
            await asyncio.sleep(0.1)


async def test_two_nodes_with_one_id_are_not_taken_for_each_other(client: httpx.AsyncClient, nomad: Nomad, fleet: list[GrpcNode]) -> None:
    fleet[1].node_id = fleet[0].node_id
    nomad.addresses = [fleet[0].address]
    sandbox_id = await is_created(client)
    nomad.addresses = [fleet[0].address, fleet[1].address]
    await asyncio.sleep(2.5)
    await is_created(client)
    assert not fleet[1].created
    assert (await client.get(f"/sandboxes/{sandbox_id}")).status_code == 200


async def test_creates_are_spread_over_unequal_nodes_by_their_processors(
    client: httpx.AsyncClient, nomad: Nomad, fleet: list[GrpcNode]
) -> None:
    """With no more nodes than are looked at for each, the best of them always wins: shares are those of the processors, to a few."""
    nomad.addresses = [node.address for node in fleet]
    await is_created(client)
    async with asyncio.timeout(20):
        while len((await client.get("/nodes", headers={"X-Admin-Token": "operator"})).json()) < len(fleet):
            await asyncio.sleep(0.05)
    for begin in range(0, CREATES, 30):
        answers = await asyncio.gather(*(created(client) for _ in range(min(30, CREATES - begin))))
        assert {answer.status_code for answer in answers} == {201}
    counts = [len(node.sandboxes) for node in fleet]
    assert sum(counts) == CREATES + 1
    for count, node in zip(counts, fleet, strict=True):
        assert abs(count - CREATES * node.cpu_count / 14) <= 6, counts
