"""What holds for every request: IDs, limits, marks for clients that send again, keys that make that safe (rest-api contract §1, §2, §5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog
from sqlalchemy import update

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import database_url
from sandbank.db.database import Database
from sandbank.db.models_accounts import Tier
from sandbank.domain.errors import InternalError, UnavailableError
from tests.integration.api.conftest import LiveApi


@asynccontextmanager
async def configured(api: LiveApi, **changes: object) -> AsyncIterator[None]:
    """The same API with other settings."""
    api.settings = ApiSettings(**(dict(api.settings) | changes))
    await api.restart()
    yield


async def test_every_answer_has_a_request_id_and_so_have_the_log_lines_of_errors(api: LiveApi) -> None:
    first, second = await api.client.get("/sandboxes"), await api.client.get("/nothing")
    assert len({first.headers["X-Request-Id"], second.headers["X-Request-Id"]}) == 2
    api.node.fail_with = InternalError("disk on fire")
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        given = await api.client.post("/v2/sandboxes", json={"templateID": "base"}, headers={"X-Request-Id": "mine-7"})
    assert given.headers["X-Request-Id"] == "mine-7"
    assert any(line.get("request_id") == "mine-7" and line.get("status") == 500 for line in lines), lines
    hostile = await api.client.get("/sandboxes", headers={"X-Request-Id": 'x" onload="y'})
    assert hostile.headers["X-Request-Id"] != 'x" onload="y'


async def test_a_team_is_limited_per_route_and_told_so(api: LiveApi) -> None:
    """§5: `RateLimit-*` on every answer of a limited route, 429 with `Retry-After` beyond; CORS lets browsers read them."""
    limits = json.dumps({"/sandboxes/:sandboxID": {"rate": 2, "burst": 2, "period_s": 600}})
    async with configured(api, rate_limits=limits):
        answers = [await api.client.get("/sandboxes/iabsent") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
        assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"2"}
        assert all(int(answer.headers["RateLimit-Reset"]) in range(1, 601) for answer in answers)
        refused = answers[-1]
        assert refused.json() == {"code": 429, "message": "Rate limit exceeded"}
        assert int(refused.headers["Retry-After"]) in range(1, 301)
        assert "RateLimit-Limit" not in (await api.client.get("/sandboxes")).headers
        # Strangers have no team to count for.
        assert (await api.client.get("/sandboxes/iabsent", headers={"X-API-Key": "e2b_00"})).status_code == 401


async def test_limits_that_cannot_be_read_keep_the_api_from_starting(api: LiveApi) -> None:
    with pytest.raises(Exception, match="rate limits cannot be read"):
        async with configured(api, rate_limits="{"):
            pass
    api.settings = ApiSettings(**(dict(api.settings) | {"rate_limits": "{}"}))


async def test_an_idempotency_key_holds_over_a_restart_of_the_api(api: LiveApi) -> None:
    """sdk-latest §1.2: same key and body, same 201 and sandbox."""

    async def send(**body: object) -> httpx.Response:
        return await api.client.post("/v2/sandboxes", json={"templateID": "base", **body}, headers={"Idempotency-Key": "k-1"})

    first = await send()
    await api.restart()
    again = await send()
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await send(timeout=7)).status_code == 422
    assert (await api.client.delete(f"/sandboxes/{first.json()['sandboxID']}")).status_code == 204
    assert (await send()).json() == first.json()
    assert len(api.node.created) == 1


async def test_what_a_client_may_send_again_by_itself(api: LiveApi) -> None:
    """sdk-latest §1.2: Python sends any 429, 502, 503 and 504 again unless told otherwise."""
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Tier).where(Tier.id == "local_v1").values(concurrent_instances=1))
    await database.close()
    only = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    full = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    assert (only.status_code, full.status_code, full.headers["Should-Retry"], full.headers.get("Retry-After")) == (201, 429, "false", None)
    assert full.json()["message"] == (
        "you have reached the maximum number of concurrent E2B sandboxes (1). If you need more, please visit 'https://e2b.dev/docs/billing'"
    )
    await api.client.delete(f"/sandboxes/{only.json()['sandboxID']}")
    api.node.fail_with = UnavailableError("maybe it was done")
    maybe = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    assert (maybe.status_code, maybe.headers["Should-Retry"]) == (503, "false")
    assert maybe.json()["error_code"] == "sandbox_capacity_unavailable"
    await api.node.stop()
    while (await api.client.get("/health")).status_code == 200:
        await asyncio.sleep(0.02)
    nobody = await api.client.post("/v2/sandboxes", json={"templateID": "base"})
    # Nothing was even tried: it may be sent again.
    assert (nobody.status_code, nobody.headers.get("Should-Retry"), nobody.headers["Retry-After"]) == (503, None, "1")
    assert nobody.json()["error_code"] == "sandbox_no_compatible_node"


async def test_http2_on_the_apis_own_port_is_refused_in_words(api: LiveApi) -> None:
    """§1: cleartext HTTP/2 is left to the client proxy (ADR 0013); no official client sends it (sdk-latest §1.1)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.settings.api_port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": 400' in answer
    upgrade = await api.client.get("/sandboxes", headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""})
    assert upgrade.status_code == 200
