"""Building templates over HTTP, as tests do it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx

from tests.integration.api.conftest import LiveApi
from tests.integration.api.grpc_builder import FakeBuild
from tests.integration.api.test_lifecycle import eventually

RECIPE = {"fromImage": "debian:stable", "steps": [{"type": "RUN", "args": ["echo hi", "root"]}]}


async def request(api: LiveApi, name: str = "mine", client: httpx.AsyncClient | None = None, **body: Any) -> dict[str, Any]:
    response = await (client or api.client).post("/v3/templates", json={"name": name, **body})
    assert response.status_code == 202, response.text
    made: dict[str, Any] = response.json()
    return made


def path_of(made: dict[str, Any]) -> str:
    return f"/templates/{made['templateID']}/builds/{made['buildID']}"


async def start(api: LiveApi, made: dict[str, Any], body: dict[str, Any] | None = None, agent: str = "tests") -> httpx.Response:
    return await api.client.post(f"/v2{path_of(made)}", json=RECIPE if body is None else body, headers={"User-Agent": agent})


async def started(api: LiveApi, made: dict[str, Any], body: dict[str, Any] | None = None, agent: str = "tests") -> FakeBuild:
    """Start it: as the builder has it now."""
    response = await start(api, made, body, agent)
    assert (response.status_code, response.content) == (202, b""), response.text
    return api.builder.builds[made["buildID"]]


async def status(api: LiveApi, made: dict[str, Any], **query: Any) -> dict[str, Any]:
    response = await api.client.get(f"{path_of(made)}/status", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def until(api: LiveApi, made: dict[str, Any], state: str) -> dict[str, Any]:
    async def reached() -> bool:
        return bool((await status(api, made))["status"] == state)

    await eventually(reached)
    return await status(api, made)


async def build(api: LiveApi, name: str = "mine", **body: Any) -> dict[str, Any]:
    """A ready build."""
    made = await request(api, name, **body)
    (await started(api, made)).complete()
    await until(api, made, "ready")
    return made


async def until_said(api: LiveApi, build_id: str) -> None:
    async with asyncio.timeout(5):
        while build_id not in api.builder.deleted:
            await asyncio.sleep(0.02)


NOWHERE = str(uuid.uuid4())
