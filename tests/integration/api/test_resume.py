"""Data-plane §7.4 over the wire: the internal gRPC port of a live API."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from sandbank.domain.errors import InvalidError, NotFoundError, UnavailableError
from sandbank.rpc.resume import Knock, ResumeClient
from tests.integration.api.conftest import LiveApi, free_port
from tests.integration.api.test_sandboxes import create


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
