"""Time, nodes that have a will of their own, and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from sandbank.api.wiring import build
from sandbank.domain.errors import UnavailableError
from sandbank.state.catalog import MemoryCatalog
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_sandboxes import create, refused

# Far beyond what it should take: these are about whether, not about how fast.
PATIENCE_SECONDS = 15


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await asyncio.sleep(0.02)


async def _end(api: LiveApi, sandbox_id: str) -> datetime:
    return datetime.fromisoformat((await api.client.get(f"/sandboxes/{sandbox_id}")).json()["endAt"])


async def _gone(api: LiveApi, sandbox_id: str) -> bool:
    return (await api.client.get(f"/sandboxes/{sandbox_id}")).status_code == 404


async def _deleted(api: LiveApi) -> bool:
    """A sandbox does not show any more as soon as its end has begun."""
    return bool(api.node.deleted)


async def test_an_expired_sandbox_is_killed(api: LiveApi) -> None:
    sandbox_id = (await create(api, timeout=1))["sandboxID"]
    await eventually(lambda: _deleted(api))
    assert await _gone(api, sandbox_id)
    assert api.node.deleted == [(sandbox_id, "timeout")]
    assert await api.catalog.find(sandbox_id) is None


async def test_timeout_zero_expires_at_once(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 0})).status_code == 204
    await eventually(lambda: _gone(api, sandbox_id))


async def test_ends_move_as_the_contract_says(api: LiveApi) -> None:
    created = await create(api, timeout=300)
    sandbox_id = created["sandboxID"]
    first = await _end(api, sandbox_id)
    for version, body in (("/v2", None), ("/v2", {}), ("/v2", {"timeout": 10}), ("", {"timeout": 10})):
        response = (
            await api.client.post(f"{version}/sandboxes/{sandbox_id}/connect", json=body)
            if body is not None
            else (await api.client.post(f"{version}/sandboxes/{sandbox_id}/connect"))
        )
        assert response.status_code == 200, response.text
        assert response.json() == created
        assert await _end(api, sandbox_id) >= first
    second = await _end(api, sandbox_id)
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/refreshes", json={"duration": 20})).status_code == 204
    assert await _end(api, sandbox_id) == second
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/refreshes", json={"duration": 3600})).status_code == 204
    third = await _end(api, sandbox_id)
    assert third > second
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 60})).status_code == 204
    assert await _end(api, sandbox_id) < second
    assert api.node.sandboxes[sandbox_id].end_time.ToDatetime() == (await _end(api, sandbox_id)).replace(tzinfo=None)

    refused(await api.client.post(f"/sandboxes/{sandbox_id}/connect"), 400, "validation error")
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/timeout", json={}), 400, "validation error")
    refused(await api.client.post(f"/sandboxes/{sandbox_id}/refreshes", json={"duration": 3601}), 400, "validation error")
    refused(await api.client.post("/v2/sandboxes/iabsent/connect", json={"timeout": 72 * 3600}), 400, "Timeout cannot be greater")
    refused(await api.client.post("/v2/sandboxes/iabsent/connect"), 404, "doesn't exist")
    refused(await api.client.post("/sandboxes/iabsent/timeout", json={"timeout": 1}), 404, "doesn't exist")
    refused(await api.client.post("/sandboxes/not_an_id/timeout", json={"timeout": 1}), 400, "Invalid sandbox ID")


async def test_a_sandbox_that_ends_by_itself_is_noticed(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    api.node.sandboxes.clear()
    await eventually(lambda: _gone(api, sandbox_id))
    assert await api.catalog.find(sandbox_id) is None


async def test_a_restart_loses_nothing(api: LiveApi) -> None:
    network = {"allowPublicTraffic": False}
    sandbox_id = (await create(api, metadata={"k": "v"}, network=network, timeout=600))["sandboxID"]
    await api.client.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 900})
    before = (await api.client.get(f"/sandboxes/{sandbox_id}")).json()
    await api.restart()
    assert (await api.client.get(f"/sandboxes/{sandbox_id}")).json() == before
    entry = await api.catalog.find(sandbox_id)
    assert entry is not None
    assert (entry.orchestrator_ip, entry.max_length_hours) == ("127.0.0.1", 24)
    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204


async def test_a_node_that_is_away_comes_back(api: LiveApi) -> None:
    assert (await api.client.get("/health")).text == "Health check successful"
    sandbox_id = (await create(api))["sandboxID"]
    port = int(api.node.address.rpartition(":")[2])
    await api.node.stop()

    async def unhealthy() -> bool:
        return (await api.client.get("/health")).status_code == 503

    await eventually(unhealthy)
    refused(await api.client.post("/v2/sandboxes", json={"templateID": "base"}), 503, "Failed to place sandbox")
    # Sandboxes outlive their orchestrator: nobody takes them for dead.
    assert not await _gone(api, sandbox_id)
    await api.node.start(port)

    async def healthy() -> bool:
        return (await api.client.get("/health")).status_code == 200

    await eventually(healthy)
    assert not await _gone(api, sandbox_id)
    await create(api)


async def test_a_kill_that_failed_is_made_good(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    api.node.fail_delete_with = UnavailableError("busy")
    refused(await api.client.delete(f"/sandboxes/{sandbox_id}"), 500, "Error killing sandbox")
    api.node.fail_delete_with = None
    await eventually(lambda: _deleted(api))
    assert api.node.deleted == [(sandbox_id, "timeout")]
    await eventually(lambda: _gone(api, sandbox_id))


async def test_many_at_once(api: LiveApi) -> None:
    made = await asyncio.gather(*(create(api) for _ in range(50)))
    assert len({sandbox["sandboxID"] for sandbox in made}) == 50
    assert len(api.node.sandboxes) == 50
    killed = await asyncio.gather(*(api.client.delete(f"/sandboxes/{sandbox['sandboxID']}") for sandbox in made))
    assert {response.status_code for response in killed} == {204}
    assert api.node.sandboxes == {}


async def test_stopping_answers_what_is_in_flight(api: LiveApi) -> None:
    api.node.create_gate = asyncio.Event()
    creating = asyncio.ensure_future(create(api))
    while not api.node.created:
        await asyncio.sleep(0.01)
    stopping = asyncio.ensure_future(api.service.stop())
    await asyncio.sleep(0.05)
    api.node.create_gate.set()
    created = await creating
    await stopping
    assert created["sandboxID"] in api.node.sandboxes


async def test_a_taken_port_is_one_clear_error(api: LiveApi) -> None:
    second = build(api.settings, catalog=MemoryCatalog())
    try:
        with pytest.raises(UnavailableError, match=f"port {api.settings.api_port}"):
            await second.start()
    finally:
        await second.stop()
