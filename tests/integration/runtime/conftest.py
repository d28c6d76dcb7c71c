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
    asyncio.run(_end_what_a_broken_run_left())


async def _end_what_a_broken_run_left() -> None:
    driver = node.make_driver()
    for sandbox_id in (await driver.start(lambda ended: None)).adopted:
        await driver.kill(sandbox_id)
    async with asyncio.timeout(10):  # what has ended is collected in a moment
        while node.sandbox_processes():
            await asyncio.sleep(0.02)
    await driver.close()


@pytest.fixture
async def driver() -> AsyncIterator[NamespaceDriver]:
    """Started, and closed after the test; the test ends its own sandboxes."""
    driver = node.make_driver()
    report = await driver.start(lambda ended: None)
    try:
        for sandbox_id in report.adopted:  # or one test that fails would have all others fail
            await driver.kill(sandbox_id)
        assert report.adopted == (), "an earlier test left sandboxes"
        yield driver
    finally:
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
