"""Nodes and operators' routes (rest-api contract §17)."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest

from sandbank.domain.development import TEAM_ID
from sandbank.domain.errors import InternalError
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_sandboxes import create, refused

OPERATOR = {"X-Admin-Token": "operator"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nodes"),
        ("GET", "/nodes/node-1"),
        ("POST", "/nodes/node-1"),
        ("POST", f"/admin/teams/{TEAM_ID}/sandboxes/kill"),
        ("POST", f"/admin/teams/{TEAM_ID}/builds/cancel"),
        ("GET", "/admin/sandboxes/running-counts"),
    ],
)
async def test_only_operators_may(api: LiveApi, method: str, path: str) -> None:
    await create(api)
    for headers in ({}, {"X-Admin-Token": "wrong"}, {"X-Team-ID": TEAM_ID}):
        refused(await api.client.request(method, path, headers=headers, json={"status": "draining"}), 401, "")
    assert len(api.node.sandboxes) == 1


async def test_a_node_with_all_it_says_of_itself(api: LiveApi) -> None:
    """§17: every field, from what data-plane §9.3 has nodes report."""
    await create(api)
    await asyncio.sleep(0)
    api.node.fail_with = InternalError("no")
    await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    await api.restart()
    (node,) = (await api.client.get("/nodes", headers=OPERATOR)).json()
    assert node == {
        "version": "1.2.3",
        "commit": "abcdef0",
        "id": "node-1",
        "serviceInstanceID": "process-1",
        "clusterID": "00000000-0000-0000-0000-000000000000",
        "machineInfo": {"cpuFamily": "6", "cpuModel": "85", "cpuModelName": "Some CPU", "cpuArchitecture": "x86_64"},
        "status": "ready",
        "statusChangedAt": "2027-01-15T08:00:00Z",
        "sandboxCount": 1,
        "metrics": {
            "allocatedCPU": 2,
            "cpuPercent": 7,
            "cpuCount": 2,
            "allocatedMemoryBytes": 1024 * 1024 * 1024,
            "memoryUsedBytes": 5,
            "memoryTotalBytes": 11,
            "hugePagesTotal": 0,
            "hugePagesUsed": 0,
            "hugePagesReserved": 0,
            "hugePageSizeBytes": 0,
            "disks": [{"mountPoint": "/", "device": "/dev/vda", "filesystemType": "ext4", "usedBytes": 3, "totalBytes": 4}],
        },
        "createSuccesses": 0,
        "createFails": 0,
        "sandboxStartingCount": 0,
    }
    detail = (await api.client.get("/nodes/node-1", headers=OPERATOR)).json()
    assert detail == {key: value for key, value in node.items() if key != "sandboxStartingCount"}
    refused(await api.client.get("/nodes/absent", headers=OPERATOR), 404, "node 'absent' not found")


async def test_starts_are_counted(api: LiveApi) -> None:
    await create(api)
    api.node.fail_with = InternalError("no")
    await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    api.node.fail_with = None
    api.node.create_gate = asyncio.Event()
    starting = asyncio.ensure_future(create(api))
    while len(api.node.created) < 3:
        await asyncio.sleep(0.005)
    (node,) = (await api.client.get("/nodes", headers=OPERATOR)).json()
    assert (node["createSuccesses"], node["createFails"], node["sandboxStartingCount"]) == (1, 1, 1)
    api.node.create_gate.set()
    await starting


async def test_nodes_of_other_clusters(api: LiveApi) -> None:
    for cluster_id, count in ((str(uuid.UUID(int=0)), 1), (str(uuid.uuid4()), 0)):
        assert len((await api.client.get("/nodes", params={"clusterID": cluster_id}, headers=OPERATOR)).json()) == count
    refused(await api.client.get("/nodes", params={"clusterID": "x"}, headers=OPERATOR), 400, "validation error: ")


async def test_a_drained_node_takes_no_new_sandboxes_and_keeps_its_own(api: LiveApi) -> None:
    sandbox_id = (await create(api))["sandboxID"]

    async def become(status: str) -> httpx.Response:
        return await api.client.post("/nodes/node-1", json={"status": status}, headers=OPERATOR)

    assert (await become("draining")).status_code == 204
    assert (await api.client.get("/nodes/node-1", headers=OPERATOR)).json()["status"] == "draining"
    none = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    refused(none, 503, "no node is ready to take it")
    assert none.json()["error_code"] == "sandbox_no_compatible_node"
    assert (await api.client.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 60})).status_code == 204
    refused(await become("standby"), 409, "cannot change node status from draining to standby")
    refused(await become("connecting"), 409, "a node cannot be made connecting")
    refused(await become("asleep"), 400, "validation error: ")
    refused(await api.client.post("/nodes/absent", json={"status": "ready"}, headers=OPERATOR), 404, "node 'absent' not found")
    assert (await become("ready")).status_code == 204
    await create(api)


async def test_a_silent_node_is_unhealthy(api: LiveApi) -> None:
    await api.node.stop()
    while (await api.client.get("/nodes/node-1", headers=OPERATOR)).json()["status"] != "unhealthy":
        await asyncio.sleep(0.02)
    assert api.client is not None
    await api.node.start(int(api.node.address.rpartition(":")[2]))
    while (await api.client.get("/nodes/node-1", headers=OPERATOR)).json()["status"] != "ready":
        await asyncio.sleep(0.02)


async def test_all_of_a_team_is_killed(api: LiveApi) -> None:
    made = {(await create(api))["sandboxID"] for _ in range(3)}
    counts = await api.client.get("/admin/sandboxes/running-counts", headers=OPERATOR)
    assert counts.json() == {TEAM_ID: 3}
    killed = await api.client.post(f"/admin/teams/{TEAM_ID}/sandboxes/kill", headers=OPERATOR)
    assert killed.json() == {"killedCount": 3, "failedCount": 0}
    assert sorted(api.node.deleted) == sorted((sandbox_id, "admin") for sandbox_id in made)
    assert (await api.client.get("/v2/sandboxes")).json() == []
    again = await api.client.post(f"/admin/teams/{TEAM_ID}/sandboxes/kill", headers=OPERATOR)
    assert again.json() == {"killedCount": 0, "failedCount": 0}


async def test_what_cannot_be_killed_is_counted(api: LiveApi) -> None:
    await create(api)
    api.node.fail_delete_with = InternalError("stuck")
    killed = await api.client.post(f"/admin/teams/{TEAM_ID}/sandboxes/kill", headers=OPERATOR)
    assert killed.json() == {"killedCount": 0, "failedCount": 1}
    api.node.fail_delete_with = None


async def test_teams_that_are_not_there(api: LiveApi) -> None:
    for operation in ("sandboxes/kill", "builds/cancel"):
        for team_id in (str(uuid.uuid4()), "x"):
            refused(await api.client.post(f"/admin/teams/{team_id}/{operation}", headers=OPERATOR), 404, "Team not found")
    cancelled = await api.client.post(f"/admin/teams/{TEAM_ID}/builds/cancel", headers=OPERATOR)
    assert cancelled.json() == {"cancelledCount": 0, "failedCount": 0}
