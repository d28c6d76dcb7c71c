"""A whole node with real sandboxes: gRPC in, traffic through its proxy out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sandbank.contracts.orchestrator import SandboxCreateRequest, SandboxDeleteRequest
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.orchestrator.wiring import OrchestratorService, build
from sandbank.rpc.orchestrator import OrchestratorClient
from tests.unit.orchestrator.test_service import new_request


class Node:
    """An orchestrator and a client of it, started and stopped by the test."""

    def __init__(self, settings: OrchestratorSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        self.service: OrchestratorService = build(self._settings)
        await self.service.start()
        self.client = OrchestratorClient(self.service.address)

    async def stop(self) -> None:
        await self.client.close()
        await self.service.stop()

    async def create(self, lifetime: timedelta = timedelta(minutes=5)) -> SandboxCreateRequest:
        request = new_request(lifetime)
        request.sandbox.ram_mb = 128
        await self.client.create(request)
        return request

    async def delete(self, request: SandboxCreateRequest) -> None:
        await self.client.delete(SandboxDeleteRequest(sandbox_id=request.sandbox.sandbox_id, kill_reason="request"))

    async def health(self, request: SandboxCreateRequest) -> int:
        """Status of the agent's `/health` as the node's proxy hands it on."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.service.proxy_port)
        host = f"49983-{request.sandbox.sandbox_id}.localhost"
        writer.write(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(line.split()[1])


@pytest.fixture
async def node(settings: OrchestratorSettings) -> AsyncIterator[Node]:
    node = Node(settings)
    await node.start()
    yield node
    for sandbox in (await node.client.list()).sandboxes:
        await node.client.delete(SandboxDeleteRequest(sandbox_id=sandbox.sandbox_id))
    await node.stop()


async def test_traffic_reaches_a_sandbox_as_long_as_it_lives(node: Node) -> None:
    request = await node.create()
    assert await node.health(request) == 204
    await node.delete(request)
    assert await node.health(request) == 502


async def test_sandboxes_outlive_the_orchestrator(node: Node) -> None:
    kept, ended = await node.create(), await node.create()
    before = {sandbox.sandbox_id: sandbox for sandbox in (await node.client.list()).sandboxes}
    await node.delete(ended)
    await node.stop()
    await node.start()
    (listed,) = (await node.client.list()).sandboxes
    assert listed == before[kept.sandbox.sandbox_id]
    assert await node.health(kept) == 204
    assert await node.health(ended) == 502


async def test_a_burst_of_a_hundred(node: Node) -> None:
    requests = await asyncio.gather(*(node.create() for _ in range(100)))
    assert await asyncio.gather(*(node.health(request) for request in requests)) == [204] * 100
    await asyncio.gather(*(node.delete(request) for request in requests))
    assert not (await node.client.list()).sandboxes


async def test_creates_that_are_given_up_leave_nothing(node: Node) -> None:
    for delay_seconds in (0.0, 0.001, 0.003, 0.006, 0.01, 0.02):
        creating = asyncio.create_task(node.create())
        await asyncio.sleep(delay_seconds)
        creating.cancel()
        await asyncio.wait({creating})
        if not creating.cancelled():
            await node.delete(creating.result())
    async with asyncio.timeout(30):
        while (info := await node.client.info()).metric_cpu_allocated:  # those whose answer came too late for us
            for sandbox in (await node.client.list()).sandboxes:
                await node.client.delete(SandboxDeleteRequest(sandbox_id=sandbox.sandbox_id, kill_reason="orphaned"))
            await asyncio.sleep(0.01)
    assert info.metric_sandboxes_running == 0
