"""Volumes of a team and their mounts (rest-api contract §18)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.volumes import VolumeRules, Volumes
from sandbank.domain.errors import DeniedError, ExhaustedError, InvalidError, NotFoundError
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM, TEMPLATE

OTHERS = replace(TEAM, team_id="t2")


def wish(*mounts: tuple[str, str]) -> CreateSandbox:
    return CreateSandbox(template="base", timeout_seconds=60, secure=True, volume_mounts=mounts)


async def test_a_name_is_used_once_per_team_and_nothing_is_left_of_the_second(core: Core) -> None:
    volume, token = await core.volumes.create(TEAM, "data")
    assert token == f"token of {volume.volume_id}"
    with pytest.raises(InvalidError, match="Volume with name 'data' already exists"):
        await core.volumes.create(TEAM, "data")
    await core.volumes.create(OTHERS, "data")
    assert core.places.directories == set(core.places.volumes)
    assert [one.name for one in await core.volumes.list(TEAM)] == ["data"]


async def test_what_belongs_to_others_is_not_there(core: Core) -> None:
    volume, _ = await core.volumes.create(OTHERS, "data")
    for call in (core.volumes.get(TEAM, volume.volume_id), core.volumes.delete(TEAM, volume.volume_id)):
        with pytest.raises(NotFoundError, match="Volume not found"):
            await call
    with pytest.raises(InvalidError, match="volume 'data' not found"):
        await core.creator.create(TEAM, wish(("data", "/data")))


@pytest.mark.parametrize("volume_id", ["", "x", "{12345678-1234-1234-1234-123456789012}", "12345678123412341234123456789012"])
async def test_an_id_that_is_none_is_invalid(core: Core, volume_id: str) -> None:
    with pytest.raises(InvalidError, match="Invalid volume ID"):
        await core.volumes.get(TEAM, volume_id)


async def test_limits_and_the_switch(core: Core) -> None:
    for name in ("a", "b", "c"):
        await core.volumes.create(TEAM, name)
    with pytest.raises(ExhaustedError, match="maximum number of volumes"):
        await core.volumes.create(TEAM, "d")
    off = Volumes(core.places, core.places, core.places, VolumeRules(enabled=False, shared=False, most_per_team=3))
    with pytest.raises(DeniedError, match="use of volumes is not enabled"):
        await off.list(TEAM)
    with pytest.raises(InvalidError, match="Volume mounts are not enabled"):
        await off.mounts(TEAM, TEMPLATE, [("a", "/a")])


async def test_of_volumes_made_at_once_none_is_beyond_the_limit_or_leaves_anything(core: Core) -> None:
    outcomes = await asyncio.gather(*(core.volumes.create(TEAM, f"v{number}") for number in range(6)), return_exceptions=True)
    assert sum(isinstance(outcome, ExhaustedError) for outcome in outcomes) == 3
    assert len(core.places.volumes) == 3
    assert core.places.directories == set(core.places.volumes)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "path cannot be empty"),
        ("data", "path must be absolute"),
        ("/a/../b", "path must not contain any '.' or '..' components"),
        ("/a/./b", "path must not contain any '.' or '..' components"),
        ("/first", "path '/first' is already used"),
        ("/first/", "path '/first/' is already used"),
        ("//first", "path '//first' is already used"),
        ("/", "path '/' cannot be mounted to"),
        ("//", "path '//' cannot be mounted to"),
        ("/dev/", "path '/dev/' cannot be mounted to"),
        ("/proc/x", "path '/proc/x' cannot be mounted to"),
    ],
)
async def test_mounts_that_cannot_be_are_all_named(core: Core, path: str, reason: str) -> None:
    await core.volumes.create(TEAM, "data")
    with pytest.raises(InvalidError) as raised:
        await core.creator.create(TEAM, wish(("data", "/first"), ("none", "/second"), ("data", path)))
    assert raised.value.message == f"invalid mounts:\n\t- volume mount #1: volume 'none' not found\n\t- volume mount #2: {reason}"


async def test_a_path_that_only_begins_like_a_systems_is_free(core: Core) -> None:
    await core.volumes.create(TEAM, "data")
    made = await core.creator.create(TEAM, wish(("data", "/devices"), ("data", "/system"), ("data", "/process/a")))
    assert [path for _, path in made.volume_mounts] == ["/devices", "/system", "/process/a"]


@pytest.mark.parametrize(("version", "text"), [("0.5.13", "Template envd version is 0.5.13, must be at least 0.5.14"), ("", "is not set")])
async def test_old_templates_have_no_volumes(core: Core, version: str, text: str) -> None:
    await core.volumes.create(TEAM, "data")
    with pytest.raises(InvalidError, match=text):
        await core.volumes.mounts(TEAM, replace(TEMPLATE, envd_version=version), [("data", "/data")])


async def test_a_sandbox_goes_where_its_volume_is(core: Core) -> None:
    volume, _ = await core.volumes.create(TEAM, "data")
    sandbox = await core.creator.create(TEAM, wish(("data", "/data")))
    assert sandbox.node_id == volume.node_id
    assert sandbox.volume_mounts == (("data", "/data"),)
