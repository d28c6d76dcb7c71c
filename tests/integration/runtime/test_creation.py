"""Creates that fail, are cancelled, meet a kill, or come all at once. The driver's fixture looks for what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
from pathlib import Path

import pytest

from sandbank.domain.errors import InternalError, UnavailableError
from sandbank.runtime.drivers.namespaces import process
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run


async def test_a_missing_layer_fails_clean_and_names_the_step(driver: NamespaceDriver) -> None:
    spec = dataclasses.replace(node.new_spec(), layers=(node.ROOTFS, Path("/nonexistent/layer")))
    with pytest.raises(InternalError, match=r"build the stage: .*/nonexistent/layer"):
        await driver.create(spec)
    await _gone()
    good = dataclasses.replace(spec, layers=(node.ROOTFS,))  # the same name can be used at once
    await driver.create(good)
    await driver.kill(spec.sandbox_id)


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 4, 6, 8, 12, 16, 24, 40])
async def test_a_cancelled_create_leaves_nothing(driver: NamespaceDriver, milliseconds: int) -> None:
    spec = node.new_spec()
    creating = asyncio.get_running_loop().create_task(driver.create(spec))
    await asyncio.sleep(milliseconds / 1000)
    creating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await creating
        await driver.kill(spec.sandbox_id)  # it was quicker
    await _gone()


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3])
async def test_a_kill_amid_a_create_wins(driver: NamespaceDriver, milliseconds: int) -> None:
    spec = node.new_spec()
    creating = asyncio.get_running_loop().create_task(driver.create(spec))
    await asyncio.sleep(milliseconds / 1000)
    assert not creating.done()
    await driver.kill(spec.sandbox_id)
    with pytest.raises(UnavailableError, match="killed"):
        await creating
    await _gone()


async def test_a_hundred_at_once(driver: NamespaceDriver) -> None:
    specs = [node.new_spec() for _ in range(100)]
    await asyncio.gather(*(driver.create(spec) for spec in specs))
    assert len({(await run(driver, spec.sandbox_id, "cat /proc/sys/kernel/random/boot_id")).status for spec in specs[::20]}) == 1
    await asyncio.gather(*(driver.kill(spec.sandbox_id) for spec in specs))
    await _gone()


async def test_no_ring_that_a_checkpoint_cannot_save(driver: NamespaceDriver, sandbox_id: str) -> None:
    await run(driver, sandbox_id, "true")
    members = node.sandbox_processes()
    assert len(members) == 2
    for pid in members:
        assert "io_uring" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert not [link for link in Path(f"/proc/{pid}/fd").iterdir() if "io_uring" in os.readlink(link)]


async def test_another_process_with_a_recorded_number_is_not_adopted() -> None:
    """As after a reboot: the record names a pid that is somebody else's now."""
    first = node.make_driver()
    await first.start(lambda ended: None)
    spec = node.new_spec()
    await first.create(spec)
    record = node.DATA_DIR / "sandboxes" / spec.sandbox_id / "runtime.json"
    fields = json.loads(record.read_text())
    await first.close()
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    record.write_text(json.dumps({**fields, "pid": bystander.pid, "start_time": process.start_time(bystander.pid)}))
    second = node.make_driver()
    report = await second.start(lambda ended: None)
    assert report.adopted == ()
    assert report.reclaimed == (spec.sandbox_id,)
    await _gone()
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()
    await second.close()
    assert node.remains() == {"processes": [], "cgroups": [], "homes": [], "mounts": []}


async def _gone() -> None:
    assert node.remains()["cgroups"] == []
    async with asyncio.timeout(10):  # what has ended is collected in a moment by the zygote, or by us after its end
        while node.sandbox_processes():
            await asyncio.sleep(0.02)
