"""Sandboxes for the tests of a module, and ones for a single test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from e2b import AsyncSandbox, Sandbox

from tests.product.instance import Instance

SandboxMaker = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def sandbox(server: Instance) -> Iterator[Sandbox]:
    """A sandbox that the tests of one module share."""
    made = Sandbox.create(timeout=600, metadata={"purpose": "conformance"}, envs={"FOO": "sandbox"})
    yield made
    assert made.kill() is True


@pytest.fixture
def make_sandbox(server: Instance) -> Iterator[SandboxMaker]:
    """Creates sandboxes that are killed after the test if the test did not."""
    made: list[Sandbox] = []

    def make(*arguments: Any, **options: Any) -> Sandbox:
        sandbox = Sandbox.create(*arguments, **{"timeout": 120, **options})
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        sandbox.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_sandbox(server: Instance) -> AsyncIterator[AsyncSandbox]:
    """A sandbox that the asynchronous tests of one module share."""
    made = await AsyncSandbox.create(timeout=600, envs={"FOO": "sandbox"})
    yield made
    assert await made.kill() is True
