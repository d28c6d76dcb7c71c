"""All sandboxes together can fill the node's disk for sandboxes, since what they may write adds up to more; killing them frees it."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.driver import SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.snapshot.criu_program import find_criu
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

DATA_DIR = node.DATA_DIR.with_name(f"{node.LAYOUT.instance}-full")
LAYOUT = dataclasses.replace(
    node.LAYOUT,
    data_dir=DATA_DIR,
    run_dir=DATA_DIR / "run",
    instance=node.LAYOUT.instance.replace("t", "f"),
    subnet=f"10.{180 + node.SLOT}.0.0/16",
    sandbox_disk_mib=400,
)


def _greedy() -> SandboxSpec:
    spec = node.new_spec()
    return dataclasses.replace(spec, limits=dataclasses.replace(spec.limits, disk_mib=10_000))


@pytest.fixture
async def small_node() -> AsyncIterator[NamespaceDriver]:
    shutil.rmtree(DATA_DIR, ignore_errors=True)
    driver = NamespaceDriver(LAYOUT, NamespaceSettings(free_slots=2, criu=find_criu(None).usable_path))
    await driver.start(lambda ended: None)
    yield driver
    await driver.close()
    shutil.rmtree(DATA_DIR)


async def test_a_full_node_says_so_and_comes_back(small_node: NamespaceDriver) -> None:
    hog, other = _greedy(), _greedy()
    await small_node.create(hog)
    await small_node.create(other)
    filled = await run(small_node, hog.sandbox_id, "head -c 1G /dev/zero > /root/big; echo $?; echo x > /root/more || echo full", "root")
    assert filled.output.split()[-1] == "full", filled.output
    with pytest.raises(UnavailableError, match=r"the disk of this node's sandboxes is full"):
        await small_node.create(_greedy())
    assert (await run(small_node, other.sandbox_id, "echo well")).output == "well\n"
    await small_node.kill(hog.sandbox_id)
    assert [path.name for path in (DATA_DIR / "sandboxes").iterdir()] == [other.sandbox_id]
    async with asyncio.timeout(120):  # the kernel takes back what was freed at its next commit
        while (await run(small_node, other.sandbox_id, "head -c 100M /dev/zero > /root/big && echo room", "root")).output != "room\n":
            subprocess.run(["btrfs", "filesystem", "sync", str(DATA_DIR / "sandboxes")], check=True)
            await asyncio.sleep(1)
    await small_node.kill(other.sandbox_id)


async def test_a_sandbox_that_there_is_no_room_to_save_runs_on(small_node: NamespaceDriver) -> None:
    """Issue: a full disk during pause is a clear error, and the sandbox runs on."""
    hog, other = _greedy(), _greedy()
    await small_node.create(hog)
    await small_node.create(other)
    await run(
        small_node,
        other.sandbox_id,
        "echo kept > /home/user/file; (while sleep 0.05; do date +%s%N > /dev/shm/now; done) > /dev/null 2>&1 &",
    )
    await run(small_node, hog.sandbox_id, "head -c 1G /dev/zero > /root/big", "root")
    with pytest.raises(UnavailableError, match=r"the disk of this node's sandboxes is full|no space left|could not be saved"):
        await small_node.pause(other.sandbox_id, "too-large")
    assert not small_node.has_snapshot("too-large")
    assert (await run(small_node, other.sandbox_id, "cat /home/user/file")).output == "kept\n"
    moments = {(await run(small_node, other.sandbox_id, "sleep 0.3; cat /dev/shm/now")).output for _ in range(2)}
    assert len(moments) == 2
    await small_node.kill(hog.sandbox_id)
    async with asyncio.timeout(120):  # the kernel takes back what was freed at its next commit
        while not small_node.has_snapshot("fits"):
            try:
                await small_node.pause(other.sandbox_id, "fits")
            except UnavailableError:
                await asyncio.sleep(0.5)
    await small_node.create(dataclasses.replace(other, snapshot_id="fits"))
    assert (await run(small_node, other.sandbox_id, "cat /home/user/file")).output == "kept\n"
    await small_node.kill(other.sandbox_id)
    await small_node.remove_snapshot("fits")
