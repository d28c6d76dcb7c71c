"""A running driver, and the promise that a test leaves no sandbox behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node


@pytest.fixture(scope="session", autouse=True)
def _rootfs() -> None:
    node.bootstrap_rootfs()


@pytest.fixture
async def driver() -> AsyncIterator[NamespaceDriver]:
    """Started, and closed after the test; the test ends its own sandboxes."""
    driver = node.make_driver()
    report = await driver.start(lambda ended: None)
    assert report.adopted == ()
    yield driver
    await driver.close()
    async with asyncio.timeout(10):  # files are removed in the background; everything else is gone when `kill` returns
        while node.remains()["homes"]:
            await asyncio.sleep(0.02)
    assert node.remains() == {"processes": [], "cgroups": [], "homes": [], "mounts": []}


@pytest.fixture
async def sandbox_id(driver: NamespaceDriver) -> AsyncIterator[str]:
    """One sandbox."""
    spec = node.new_spec()
    await driver.create(spec)
    yield spec.sandbox_id
    await driver.kill(spec.sandbox_id)
