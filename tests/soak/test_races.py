"""200 mixed lifecycle calls on 20 sandboxes at the same time, and the service killed amid them, end in one state (rest-api §8.0)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from sandbank.rpc.orchestrator import OrchestratorClient
from tests.product.instance import SEEDED_API_KEY, Instance
from tests.product.processes import is_alive, kill_hard, service_pid
from tests.soak.lifecycle_calls import Crowd

SANDBOXES, CALLS, CRASH_AFTER = 20, 200, 90
_NOTICED_SECONDS = 1.2  # the API looks for changed accounts twice a second
_SANDBOX = re.compile(r"i[a-z0-9]{20}")


@pytest.fixture
def concurrency(server: Instance) -> Iterator[sqlite3.Connection]:
    """The installation's database, to change how many sandboxes its team may have; changed back afterwards."""
    with closing(sqlite3.connect(server.data_dir / "sandbank.db", timeout=10, isolation_level=None)) as database:
        (before,) = database.execute("SELECT concurrent_instances FROM tiers WHERE id = 'local_v1'").fetchone()
        yield database
        database.execute("UPDATE tiers SET concurrent_instances = ? WHERE id = 'local_v1'", (before,))
        time.sleep(_NOTICED_SECONDS)  # whoever comes next shall not meet the old number


def control_groups(server: Instance) -> set[str]:
    """Sandboxes as the kernel has them: groups with processes in them."""
    found = set()
    for directory, _, _ in os.walk("/sys/fs/cgroup"):
        path = Path(directory)
        if {server.name, f"sandbank-{server.name}"} & set(path.parts) and _SANDBOX.fullmatch(path.name):
            found.add(path.name)
    return found


async def on_node(server: Instance) -> set[str]:
    """Sandboxes as the node lists them."""
    client = OrchestratorClient(f"127.0.0.1:{server.first_port + 2008}")
    try:
        return {sandbox.sandbox_id for sandbox in (await client.list()).sandboxes}
    finally:
        await client.close()


async def listed(client: httpx.AsyncClient) -> set[str]:
    """Sandboxes as the API lists them."""
    found: set[str] = set()
    parameters: dict[str, str] = {}
    while True:
        page = await client.get("/v2/sandboxes", params=parameters)
        assert page.status_code == 200, page.text
        found |= {row["sandboxID"] for row in page.json()}
        if "X-Next-Token" not in page.headers:
            return found
        parameters = {"nextToken": page.headers["X-Next-Token"]}


async def settled(server: Instance, client: httpx.AsyncClient) -> set[str]:
    """What runs, once API, node and kernel say the same; fails with what each says if they never do."""
    views: list[set[str]] = []
    for _ in range(150):
        views = [await listed(client), await on_node(server), control_groups(server)]
        if views[0] == views[1] == views[2]:
            return views[0]
        await asyncio.sleep(0.1)
    api, node, kernel = views
    everything = api | node | kernel
    raise AssertionError({sandbox_id: (sandbox_id in api, sandbox_id in node, sandbox_id in kernel) for sandbox_id in everything})


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_calls_amid_a_crash_end_in_one_state(server: Instance, concurrency: sqlite3.Connection, seed: int) -> None:
    crowd = Crowd(server, seed)
    operator = {"X-Admin-Token": json.loads((server.data_dir / "secrets.json").read_text())["admin_token"]}
    async with httpx.AsyncClient(base_url=server.api_url, headers={"X-API-Key": SEEDED_API_KEY}, timeout=60, trust_env=False) as client:
        assert await settled(server, client) == set()
        await crowd.begin(SANDBOXES)
        calling = asyncio.ensure_future(crowd.call(CALLS, CRASH_AFTER))
        await crowd.answered.wait()
        crowd.serving.clear()
        killed = service_pid(server)
        kill_hard(killed)
        while is_alive(killed):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.up)
        crowd.serving.set()
        await calling

        assert crowd.faults == [], crowd.answers
        assert sum(crowd.answers.values()) >= CALLS
        running = await settled(server, client)
        # No orphan and no ghost: all agree by now. What was acknowledged holds.
        assert crowd.alive - running == set(), "these were made, and nobody ended them"
        assert crowd.dead & running == set(), "these were killed, and the client was told so"
        # Nor does a create whose maker got no answer leave one behind: with its key the maker is led to it.
        assert running - crowd.alive - crowd.doubtful == set(), "nobody knows of these"
        for sandbox_id in running:
            assert (await client.get(f"/sandboxes/{sandbox_id}")).status_code == 200
            agent = await client.get(f"{server.sandbox_url}/health", headers={"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": "49983"})
            assert agent.status_code == 204, agent.text

        # Quotas are exact: two more places are two more sandboxes.
        counts = (await client.get("/admin/sandboxes/running-counts", headers=operator)).json()
        assert sum(counts.values()) == len(running)
        concurrency.execute("UPDATE tiers SET concurrent_instances = ? WHERE id = 'local_v1'", (len(running) + 2,))
        await asyncio.sleep(_NOTICED_SECONDS)
        more = await asyncio.gather(*(client.post("/v2/sandboxes", json={"templateID": "base"}) for _ in range(6)))
        assert sorted(answer.status_code for answer in more) == [201, 201, 429, 429, 429, 429]

        everything = await settled(server, client)
        team_id = next(iter(counts))
        ended = await client.post(f"/admin/teams/{team_id}/sandboxes/kill", headers=operator)
        assert ended.json() == {"killedCount": len(everything), "failedCount": 0}
        assert await settled(server, client) == set()
