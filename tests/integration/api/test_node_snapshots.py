"""Which snapshots there are, by node and in storage, and letting go of them while their node is away (design: artefacts)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.node_pool import NodePool
from sandbank.contracts.orchestrator import SandboxPauseRequest
from sandbank.domain.errors import SandbankError
from tests.integration.api.grpc_node import GrpcNode

HERE, SHARED = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
async def pool(node: GrpcNode) -> AsyncIterator[NodePool]:
    node.paused, node.shared = [SandboxPauseRequest(build_id=HERE)], [SHARED]
    tasks = TaskGroup("test", lambda _, error: None)
    pool = NodePool(tasks, shares_artifacts=True)
    pool.add(node.address)
    await pool.report(node.address)
    yield pool
    await tasks.close()
    await pool.close()


async def test_every_node_and_what_they_share_is_asked(node: GrpcNode, pool: NodePool) -> None:
    (state,) = pool.candidates()
    assert sorted(await pool.list_snapshots()) == sorted([(state.node_id, HERE), (state.node_id, SHARED)])
    address = node.address
    await node.stop()
    with pytest.raises(SandbankError):
        await pool.report(address)
    assert await pool.list_snapshots() == []


async def test_a_save_of_a_node_that_is_gone_is_removed_by_one_that_is_there(node: GrpcNode, pool: NodePool) -> None:
    pool.discard("gone", SHARED)
    async with asyncio.timeout(10):
        while node.deleted_snapshots != [SHARED]:
            await asyncio.sleep(0.01)
