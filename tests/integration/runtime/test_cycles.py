"""Many sandboxes come and go, and the machine is as before."""

from __future__ import annotations

import asyncio
import gc
import os

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.zygote_client import FORKS_AHEAD
from sandbank.runtime.network.settings import NetworkSettings
from tests.integration.runtime import node

_CYCLES = 200
_AT_ONCE = 4


async def test_cycles_leave_nothing(driver: NamespaceDriver) -> None:
    await _cycle(driver)  # what is made once is made
    gc.collect()  # descriptors of earlier tests must not be closed amid this one
    before = await _settled(driver)
    for _ in range(_CYCLES // _AT_ONCE):
        await asyncio.gather(*(_cycle(driver) for _ in range(_AT_ONCE)))
    async with asyncio.timeout(30):
        while any(node.remains().values()):  # what is awaited happens in the kernel
            await asyncio.sleep(0.05)
    after = await _settled(driver)
    # Every slot that the pool keeps holds two descriptors, its namespaces; nothing else may have been added.
    # This process is the tests', too: what earlier ones left to the garbage collector may go at any time.
    assert after["driver"] - before["driver"] <= 2 * (after["free slots"] - before["free slots"])
    assert after["zygote"] == before["zygote"]
    assert after["zygote children"] == FORKS_AHEAD  # those that wait for the next creates


async def _cycle(driver: NamespaceDriver) -> None:
    spec = node.new_spec()
    await driver.create(spec)
    await driver.kill(spec.sandbox_id)


async def _settled(driver: NamespaceDriver) -> dict[str, int]:
    zygote = driver._zygote.pid
    found: dict[str, int] = {}
    same = 0
    await asyncio.sleep(NetworkSettings().hold_seconds)  # released slots rest that long before they are free again
    for _ in range(100):
        with open(f"/proc/{zygote}/task/{zygote}/children", encoding="ascii") as file:
            children = len(file.read().split())
        now = {
            "driver": len(os.listdir("/proc/self/fd")),
            "zygote": len(os.listdir(f"/proc/{zygote}/fd")),
            "zygote children": children,
            "free slots": driver._pool.free_count,
        }
        # A look at a busy moment may see a pipe to a child or a file being read.
        same = same + 1 if now == found else 0
        if same == 5 and children == FORKS_AHEAD:
            break
        found = now
        await asyncio.sleep(0.1)
    return found
