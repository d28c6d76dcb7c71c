"""Two API processes on one PostgreSQL and one Redis behave as one (contract data-plane §10)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from sandbank.db.database import Database
from sandbank.db.models_accounts import Tier
from sandbank.domain.errors import DeniedError
from sandbank.rpc.secret import SecretClient
from tests.integration.replicas.conftest import Deployment, Replica


async def create(replica: Replica, **more: Any) -> httpx.Response:
    return await replica.client.post("/v2/sandboxes", json={"templateID": "base", **more})


async def listed(replica: Replica, **query: str) -> list[str]:
    """IDs of all pages."""
    found: list[str] = []
    token: str | None = None
    while True:
        answer = await replica.client.get("/v2/sandboxes", params={**query, **({"nextToken": token} if token else {})})
        assert answer.status_code == 200, answer.text
        found += [sandbox["sandboxID"] for sandbox in answer.json()]
        token = answer.headers.get("x-next-token")
        if token is None:
            return found


async def limit_to(deployment: Deployment, places: int) -> None:
    """What the team may run at once; both replicas know it when this returns."""
    database = Database(deployment.database_url)
    async with database.sessions.begin() as session:
        await session.execute(update(Tier).values(concurrent_instances=places))
    await database.close()
    for replica in deployment.replicas:
        replica.stop()
    await asyncio.gather(*(replica.start() for replica in deployment.replicas))


async def test_what_one_creates_the_other_sees_extends_and_kills(deployment: Deployment) -> None:
    one, two = deployment.replicas
    created = await create(one, metadata={"who": "me"}, envVars={"A": "1"}, timeout=60, network={"allowPublicTraffic": False})
    assert created.status_code == 201, created.text
    path = f"/sandboxes/{created.json()['sandboxID']}"
    here, there = await one.client.get(path), await two.client.get(path)
    assert there.status_code == 200
    assert here.json() == there.json()
    assert there.json()["envdAccessToken"] == created.json()["envdAccessToken"]
    assert (await two.client.post(f"{path}/timeout", json={"timeout": 600})).status_code == 204
    assert (await one.client.get(path)).json()["endAt"] > here.json()["endAt"]
    connected = await two.client.post(f"/v2{path}/connect", json={"timeout": 700})
    assert (connected.status_code, connected.json()) == (200, created.json())
    assert (await two.client.delete(path)).status_code == 204
    assert (await one.client.get(path)).status_code == 404
    assert (await one.client.delete(path)).status_code == 404
    assert deployment.node.sandboxes == {}


async def test_pages_of_one_go_on_at_the_other(deployment: Deployment) -> None:
    one, two = deployment.replicas
    made = {(await create(replica)).json()["sandboxID"] for replica in (one, two) * 6}
    first = await one.client.get("/v2/sandboxes", params={"limit": "5"})
    second = await two.client.get("/v2/sandboxes", params={"limit": "100", "nextToken": first.headers["x-next-token"]})
    both = [sandbox["sandboxID"] for sandbox in (*first.json(), *second.json())]
    assert len(both) == 12
    assert set(both) == made
    assert first.headers["x-total-running"] == second.headers["x-total-running"] == "12"


async def test_a_quota_holds_whoever_is_asked(deployment: Deployment) -> None:
    await limit_to(deployment, 7)
    answers = await asyncio.gather(*(create(deployment.replicas[n % 2]) for n in range(30)))
    assert Counter(answer.status_code for answer in answers) == {201: 7, 429: 23}
    assert len(deployment.node.sandboxes) == 7
    victim = next(iter(deployment.node.sandboxes))
    assert (await deployment.replicas[0].client.delete(f"/sandboxes/{victim}")).status_code == 204
    assert (await create(deployment.replicas[1])).status_code == 201
    assert (await create(deployment.replicas[0])).status_code == 429


async def test_kills_at_both_are_one_kill_and_all_succeed(deployment: Deployment) -> None:
    """rest-api §8.0: the same target is joined."""
    for _ in range(5):
        sandbox_id = (await create(deployment.replicas[0])).json()["sandboxID"]
        answers = await asyncio.gather(*(deployment.replicas[n % 2].client.delete(f"/sandboxes/{sandbox_id}") for n in range(10)))
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[204] >= 1
        assert statuses.keys() <= {204, 404}  # 404: whoever came when it was over
        assert [one for one, _ in deployment.node.deleted].count(sandbox_id) == 1


async def test_the_same_idempotency_key_at_both_makes_one_sandbox(deployment: Deployment) -> None:
    one, two = deployment.replicas
    headers = {"Idempotency-Key": "once"}
    first = await one.client.post("/v2/sandboxes", json={"templateID": "base"}, headers=headers)
    again = await two.client.post("/v2/sandboxes", json={"templateID": "base"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = await two.client.post("/v2/sandboxes", json={"templateID": "base", "timeout": 5}, headers=headers)
    assert other.status_code == 422


async def test_a_timeout_set_at_one_ends_the_sandbox_once_whoever_notices(deployment: Deployment) -> None:
    made = [(await create(replica, timeout=1)).json()["sandboxID"] for replica in deployment.replicas * 5]
    async with asyncio.timeout(20):
        while deployment.node.sandboxes:
            await asyncio.sleep(0.05)
    assert Counter(one for one, _ in deployment.node.deleted) == Counter(made)
    assert {reason for _, reason in deployment.node.deleted} == {"timeout"}


async def test_a_replica_that_is_killed_takes_nothing_along(deployment: Deployment) -> None:
    one, two = deployment.replicas
    made = {(await create(replica)).json()["sandboxID"] for replica in (one, two) * 5}
    stuck = asyncio.Event()
    deployment.node.create_gate = stuck
    in_flight = asyncio.ensure_future(create(one))
    async with asyncio.timeout(10):
        while len(deployment.node.created) < 11:
            await asyncio.sleep(0.02)
    one.kill()
    await asyncio.gather(in_flight, return_exceptions=True)
    deployment.node.create_gate = None
    assert set(await listed(two)) >= made
    for sandbox_id in sorted(made)[:5]:
        assert (await two.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    await one.start()
    assert set(await listed(one)) == set(await listed(two)) >= set(sorted(made)[5:])
    assert (await create(one)).status_code == 201


async def test_a_rolling_restart_fails_no_request_elsewhere(deployment: Deployment) -> None:
    one, two = deployment.replicas
    problems: list[str] = []
    rolling = True

    async def load(replica: Replica) -> int:
        count = 0
        while rolling:
            made = await create(replica)
            if made.status_code != 201 or (await replica.client.delete(f"/sandboxes/{made.json()['sandboxID']}")).status_code != 204:
                problems.append(made.text)
            count += 1
        return count

    busy = asyncio.ensure_future(load(two))
    for _ in range(2):
        await asyncio.to_thread(one.stop)
        await one.start()
    rolling = False
    assert await busy > 10
    assert problems == []
    assert deployment.node.sandboxes == {}


async def test_without_redis_answers_are_quick_and_clear_and_it_is_found_again(deployment: Deployment) -> None:
    one, two = deployment.replicas
    made = {(await create(one)).json()["sandboxID"] for _ in range(3)}
    deployment.redis.stop()
    for request in (create(one), two.client.get("/v2/sandboxes"), two.client.delete(f"/sandboxes/{sorted(made)[0]}")):
        async with asyncio.timeout(10):
            answer = await request
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == 503
        assert "Redis" in answer.json()["message"]
    assert set(deployment.node.sandboxes) == made
    deployment.redis.start()
    # It came back empty: what runs is taken over from the node, and nothing is taken for an orphan.
    async with asyncio.timeout(20):
        while True:
            answer = await one.client.get("/v2/sandboxes")
            if answer.status_code == 200 and {sandbox["sandboxID"] for sandbox in answer.json()} == made:
                break
            await asyncio.sleep(0.1)
    assert set(await listed(two)) == made
    assert set(deployment.node.sandboxes) == made
    for replica, sandbox_id in zip((one, two, one), sorted(made), strict=True):
        assert (await replica.client.delete(f"/sandboxes/{sandbox_id}")).status_code == 204
    assert all(replica.process is not None and replica.process.poll() is None for replica in deployment.replicas)


async def test_records_are_those_that_tools_know(deployment: Deployment) -> None:
    """templates-and-data §7."""
    from redis.asyncio import Redis

    sandbox_id = (await create(deployment.replicas[0])).json()["sandboxID"]
    async with Redis.from_url(deployment.redis.url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter("*")]
        (record,) = (key for key in keys if key.endswith(f":sandboxes:{sandbox_id}"))
        team_id = record.partition("{")[2].partition("}")[0]
        assert record == f"sandbox:storage:{{{team_id}}}:sandboxes:{sandbox_id}"
        assert await redis.smembers(f"sandbox:storage:{{{team_id}}}:index") == {sandbox_id}
        (member,) = (str(name) for name in await redis.zrange("sandbox:storage:global:expiration", 0, -1))
        assert member.startswith(f"{team_id}:{sandbox_id}:")
        assert 0 < await redis.ttl(f"sandbox:catalog:{sandbox_id}") <= 25 * 3600


async def test_secrets_are_the_same_wherever_they_are_asked_for(deployment: Deployment) -> None:
    """A node may ask another process than the one that made the sandbox, or the secret."""
    one, two = deployment.replicas
    assert (await one.client.post("/secrets", json={"name": "key", "value": "first"})).status_code == 201
    rules = {"api.test": [{"transform": {"headers": {"X-Key": "${e2b.secrets.key}"}}}]}
    made = await one.client.post("/v2/sandboxes", json={"templateID": "base", "network": {"rules": rules}})
    [running] = [found for found in deployment.node.sandboxes.values() if found.sandbox_id == made.json()["sandboxID"]]
    for replica, value in ((one, "first"), (two, "first"), (one, "second"), (two, "second")):
        if value == "second":
            assert (await two.client.post("/secrets/key", json={"value": value})).status_code == 200
        client = SecretClient(f"unix:{replica.environment['SANDBANK_INTERNAL_SOCKET']}")
        assert await client.values(running.sandbox_id, running.execution_id, ["secrets.key"], 10) == {"secrets.key": value}
        with pytest.raises(DeniedError):
            await client.values(running.sandbox_id, running.execution_id, ["secrets.other"], 10)
        await client.close()
