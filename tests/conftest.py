"""What holds for every test: no task outlives it. Anything else belongs to the tests that need it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

# Before anything imports it: in a fork, gRPC would start its threads again, and only a single-threaded process may enter a user namespace.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


@pytest_asyncio.fixture
async def _tasks_end_with_the_test() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # Callbacks of closed transports run in the next rounds of the loop; what is left after them nobody is going to end.
    for _ in range(3):
        await asyncio.sleep(0)
    left = {task.get_name() for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
    assert not left, f"tasks left over: {sorted(left)}"


@pytest.fixture(autouse=True)
def _no_task_left_over(request: pytest.FixtureRequest) -> None:
    """Only tests that have a loop pay for one."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_tasks_end_with_the_test")
