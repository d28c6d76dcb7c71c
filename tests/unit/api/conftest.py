"""The core over stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.api.fakes import Core


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    core = Core()
    yield core
    await core.tasks.close()
