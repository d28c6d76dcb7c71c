"""The whole life of a sandbox over HTTP."""

from __future__ import annotations

from tests.integration.api.conftest import LiveApi


async def test_life(api: LiveApi) -> None:
    response = await api.client.post("/v2/sandboxes", json={"templateID": "base", "metadata": {"a": "b"}, "envVars": {"X": "1"}})
    assert response.status_code == 201, response.text
    created = response.json()
    sandbox_id = created["sandboxID"]
    assert created["envdAccessToken"]
    entry = await api.catalog.find(sandbox_id)
    assert entry is not None
    assert entry.orchestrator_ip == "127.0.0.1"

    got = (await api.client.get(f"/sandboxes/{sandbox_id}")).json()
    assert got["envdAccessToken"] == created["envdAccessToken"]
    assert got["state"] == "running"

    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    assert api.node.deleted == [(sandbox_id, "request")]
    assert await api.catalog.find(sandbox_id) is None
    assert (await api.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 404
