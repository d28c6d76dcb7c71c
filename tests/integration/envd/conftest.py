"""One agent for all tests that do not change it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.envd.driving import Agent, running_agent


@pytest.fixture(scope="session")
def agent() -> Iterator[Agent]:
    """An agent without access token. It changes users, so it needs root."""
    assert os.geteuid() == 0, "these tests need root"
    with running_agent() as running:
        yield running
