"""The official Python SDK against the control plane alone: no data plane is behind these sandboxes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from e2b import AsyncSandbox, Sandbox, SandboxQuery
from e2b.exceptions import AuthenticationException, NotFoundException, RateLimitException, SandboxException
from sqlalchemy import update

from sandbank.api.wiring import database_url
from sandbank.db.database import Database
from sandbank.db.models_accounts import Tier
from sandbank.domain.development import API_KEY
from tests.integration.api.conftest import LiveApi


def options(api: LiveApi) -> dict[str, Any]:
    return {"api_key": API_KEY, "api_url": api.url, "sandbox_url": "http://127.0.0.1:9"}


async def test_async_life(api: LiveApi) -> None:
    sandbox = await AsyncSandbox.create("base", timeout=60, metadata={"who": "a & b"}, envs={"A": "1"}, **options(api))
    info = await sandbox.get_info()
    assert (info.sandbox_id, info.name, info.metadata, info.state.value) == (sandbox.sandbox_id, "base", {"who": "a & b"}, "running")
    before = info.end_at
    await sandbox.set_timeout(600)
    assert (await sandbox.get_info()).end_at > before
    paginator = AsyncSandbox.list(query=SandboxQuery(metadata={"who": "a & b"}), **options(api))
    assert [row.sandbox_id for row in await paginator.next_items()] == [sandbox.sandbox_id]
    assert not paginator.has_next
    again = await AsyncSandbox.connect(sandbox.sandbox_id, **options(api))
    assert again.sandbox_id == sandbox.sandbox_id
    assert await sandbox.kill()
    assert not await AsyncSandbox.kill(sandbox.sandbox_id, **options(api))
    with pytest.raises(NotFoundException):
        await AsyncSandbox.get_info(sandbox.sandbox_id, **options(api))


async def test_sync_life(api: LiveApi) -> None:
    def life() -> None:
        sandbox = Sandbox.create(**options(api))
        assert sandbox.get_info().template_id
        sandbox.set_timeout(30)
        assert [row.sandbox_id for row in Sandbox.list(limit=1, **options(api)).next_items()] == [sandbox.sandbox_id]
        assert sandbox.kill()

    await asyncio.to_thread(life)


async def test_pages(api: LiveApi) -> None:
    made = [await AsyncSandbox.create(**options(api)) for _ in range(3)]
    paginator = AsyncSandbox.list(limit=2, **options(api))
    rows = await paginator.next_items()
    assert paginator.has_next
    rows += await paginator.next_items()
    assert not paginator.has_next
    assert [row.sandbox_id for row in rows] == [sandbox.sandbox_id for sandbox in reversed(made)]


async def test_errors_have_their_classes(api: LiveApi) -> None:
    with pytest.raises(AuthenticationException):
        await AsyncSandbox.create(**(options(api) | {"api_key": "e2b_" + "0" * 40}))
    with pytest.raises(SandboxException, match="template 'absent' not found"):
        await AsyncSandbox.create("absent", **options(api))
    with pytest.raises(SandboxException, match="Timeout cannot be greater than 24 hours"):
        await AsyncSandbox.create(timeout=25 * 3600, **options(api))


async def test_the_concurrency_limit_is_not_retried(api: LiveApi) -> None:
    database = Database(database_url(api.settings))
    async with database.sessions.begin() as session:
        await session.execute(update(Tier).where(Tier.id == "local_v1").values(concurrent_instances=1))
    await database.close()
    await AsyncSandbox.create(**options(api))
    with pytest.raises(RateLimitException, match=r"maximum number of concurrent E2B sandboxes \(1\)"):
        await AsyncSandbox.create(**options(api))
    assert len(api.node.created) == 1
