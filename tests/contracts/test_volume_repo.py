"""Volumes on both databases (rest-api contract §18.1; templates contract §3.1)."""

from __future__ import annotations

import asyncio
import uuid

from sandbank.api.adapters.volume_repo import VolumeRepo
from sandbank.api.core.volumes import Volume
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.db.seed import seed_local_development
from sandbank.domain import development
from sandbank.domain.errors import ExhaustedError


def volume(name: str) -> Volume:
    return Volume(str(uuid.uuid4()), development.TEAM_ID, name, "local:n1")


async def test_of_many_added_at_once_no_more_get_in_than_a_team_may_have(database: Database) -> None:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    repo = VolumeRepo(database.sessions)
    outcomes = await asyncio.gather(*(repo.add(volume(f"v{number}"), 3) for number in range(12)), return_exceptions=True)
    assert outcomes.count(True) == 3
    assert sum(isinstance(outcome, ExhaustedError) for outcome in outcomes) == 9
    names = [one.name for one in await repo.list(development.TEAM_ID)]
    assert len(names) == 3
    assert not await repo.add(volume(names[0]), 9)
    assert await repo.add(volume("another"), 9)
