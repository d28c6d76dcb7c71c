"""Creating: checks in order, nothing left behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM, TEMPLATE


def wish(**changes: Any) -> CreateSandbox:
    return replace(CreateSandbox(template="base", timeout_seconds=300, secure=True), **changes)


async def test_what_is_created_runs_is_routed_recorded_and_counted(core: Core) -> None:
    sandbox = await core.creator.create(TEAM, wish(metadata={"k": "v"}))
    assert core.nodes.running == {sandbox.sandbox_id: sandbox}
    assert core.routes.routes == {sandbox.sandbox_id: sandbox}
    assert await core.store.find(sandbox.sandbox_id) == sandbox
    assert not await core.store.is_reserved(sandbox.sandbox_id)
    assert core.usage.spawned == [TEMPLATE.template_id]
    assert sandbox.envd_access_token is not None
    assert sandbox.traffic_access_token is None


async def test_private_ingress_gets_a_traffic_token(core: Core) -> None:
    sandbox = await core.creator.create(TEAM, wish(network={"allowPublicTraffic": False}))
    assert sandbox.traffic_access_token
    assert sandbox.traffic_access_token != sandbox.envd_access_token


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"template": "no!"}, InvalidError, "Invalid template reference: invalid template ID: no!"),
        ({"template": "absent", "timeout_seconds": 0}, NotFoundError, "template 'absent' not found"),
        ({"timeout_seconds": 0, "auto_pause": True}, InvalidError, "Timeout must be greater than 0"),
        ({"timeout_seconds": 3601}, InvalidError, "Timeout cannot be greater than 1 hours"),
        ({"auto_pause_memory": False}, InvalidError, "autoPauseMemory=false only applies when autoPause is true."),
        ({"secure": False, "network": {"allowPublicTraffic": False}}, InvalidError, "You cannot create a sandbox without public access"),
        ({"network": {"maskRequestHost": "localhost:x"}}, InvalidError, "mask request host is not valid"),
        ({"metadata": {"a": "é" * 8192, "b": ""}}, InvalidError, "metadata has 16386 bytes, and at most 16384 are kept with a sandbox"),
        ({"env_vars": {"A": "x" * (128 << 10)}}, InvalidError, "envVars has 131075 bytes"),
        ({"env_vars": {str(n): "" for n in range(60_000)}}, InvalidError, "envVars has"),
        ({"env_vars": {"": "x"}}, InvalidError, "envVars: '' cannot be the name of an environment variable"),
        ({"env_vars": {"A=B": "x"}}, InvalidError, "envVars: 'A=B' cannot be the name of an environment variable"),
        ({"env_vars": {"A\0B": "x"}}, InvalidError, "cannot be the name of an environment variable"),
        ({"env_vars": {"A": "x\0"}}, InvalidError, "envVars: the value of 'A' has a null character"),
        ({"network": {"httpsPorts": [443] * 50_000}}, InvalidError, "network has"),
        ({"network": {"httpsPorts": [8443, 49983]}}, InvalidError, "port 49983 cannot be listed in httpsPorts"),
        ({"network": {"httpsPorts": [0]}}, InvalidError, "invalid port 0 in httpsPorts"),
        ({"network": {"httpsPorts": [65536]}}, InvalidError, "invalid port 65536 in httpsPorts"),
        ({"network": {"maskRequestHost": "höst"}}, InvalidError, "Please use ASCII"),
    ],
)
async def test_refuses(core: Core, changes: dict[str, Any], error: type[SandbankError], message: str) -> None:
    with pytest.raises(error) as caught:
        await core.creator.create(TEAM, wish(**changes))
    assert message in caught.value.message
    assert core.nodes.calls == []


@pytest.mark.parametrize("version", ["", "0.1.9", "v0.1.0"])
async def test_old_agents_cannot_be_secured(core: Core, version: str) -> None:
    core.templates.template = replace(TEMPLATE, envd_version=version)
    with pytest.raises(InvalidError, match="secured access"):
        await core.creator.create(TEAM, wish())
    await core.creator.create(TEAM, wish(secure=False))


@pytest.mark.parametrize("mask", ["localhost:${PORT}", "example.com", "127.0.0.1:80", "${PORT}.example.com", "[::1]:80"])
async def test_masks(core: Core, mask: str) -> None:
    await core.creator.create(TEAM, wish(network={"maskRequestHost": mask}))


async def test_the_quota_holds_under_concurrency(core: Core) -> None:
    outcomes = await asyncio.gather(*(core.creator.create(TEAM, wish()) for _ in range(10)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ExhaustedError)]
    assert len(refused) == 10 - TEAM.concurrent_sandboxes
    assert refused[0].should_retry is False
    assert f"maximum number of concurrent E2B sandboxes ({TEAM.concurrent_sandboxes})" in refused[0].message
    assert len(core.nodes.running) == TEAM.concurrent_sandboxes


async def test_a_failed_start_gives_its_place_back(core: Core) -> None:
    for _ in range(TEAM.concurrent_sandboxes + 1):
        core.nodes.failures["n1"] = [InternalError("no")]
        with pytest.raises(InternalError) as caught:
            await core.creator.create(TEAM, wish())
        assert (caught.value.error_code, caught.value.should_retry) == ("sandbox_create_failed", False)
    assert len(core.nodes.abandoned) == TEAM.concurrent_sandboxes + 1
    await core.creator.create(TEAM, wish())


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (DeadlineError("late"), DeadlineError, "sandbox_placement_timeout"),
        (UnavailableError("gone"), UnavailableError, "sandbox_capacity_unavailable"),
        (ConflictError("sandbox files not found"), InternalError, "sandbox_create_failed"),
    ],
)
async def test_what_a_node_says_is_translated(core: Core, failure: SandbankError, error: type[SandbankError], code: str) -> None:
    core.nodes.failures["n1"] = [failure]
    with pytest.raises(error) as caught:
        await core.creator.create(TEAM, wish())
    assert (caught.value.error_code, caught.value.should_retry) == (code, False)
    assert caught.value.message.startswith("Failed to place sandbox: ")
    assert core.nodes.abandoned


async def test_no_node_may_be_tried_again(core: Core) -> None:
    core.nodes.loads.clear()
    with pytest.raises(UnavailableError) as caught:
        await core.creator.create(TEAM, wish())
    assert (caught.value.error_code, caught.value.should_retry) == ("sandbox_no_compatible_node", None)


async def test_another_node_takes_over() -> None:
    core = Core("n1", "n2")
    for node_id in ("n1", "n2"):
        core.nodes.failures[node_id] = []
    core.nodes.failures["n1"] = [UnavailableError("down")] * 8
    for _ in range(3):
        assert (await core.creator.create(TEAM, wish())).node_id == "n2"


async def test_a_full_node_is_asked_again(core: Core) -> None:
    core.nodes.failures["n1"] = [ExhaustedError("too many sandboxes starting on this node, please retry")] * 2
    await core.creator.create(TEAM, wish())
    assert [call[0] for call in core.nodes.calls] == ["create"] * 3
    assert not core.nodes.abandoned


async def test_a_caller_who_leaves_leaves_a_whole_sandbox(core: Core) -> None:
    core.nodes.gate = asyncio.Event()
    creating = asyncio.ensure_future(core.creator.create(TEAM, wish()))
    while not core.nodes.calls:
        await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    core.nodes.gate.set()
    while not core.routes.routes:
        await asyncio.sleep(0)
    (sandbox_id,) = core.nodes.running
    assert await core.store.find(sandbox_id) is not None


async def test_stopping_in_the_middle_leaves_nothing(core: Core) -> None:
    core.nodes.gate = asyncio.Event()
    creating = asyncio.ensure_future(core.creator.create(TEAM, wish()))
    while not core.nodes.calls:
        await asyncio.sleep(0)
    await core.tasks.close()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert len(core.nodes.abandoned) == 1
    assert await core.store.reserve(TEAM.team_id, "i2", 1)


async def test_an_unroutable_sandbox_is_not_left_running(core: Core) -> None:
    core.routes.error = UnavailableError("catalog is away")
    with pytest.raises(UnavailableError):
        await core.creator.create(TEAM, wish())
    assert core.nodes.running == {}
    assert list(await core.store.list_team(TEAM.team_id)) == []
