"""A sandbox reads its own size where the kernel would show the node's (ADR 0005)."""

from __future__ import annotations

import os

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run


async def test_one_processor_of_many(driver: NamespaceDriver, sandbox_id: str) -> None:
    assert len(os.sched_getaffinity(0)) > 1, "this test needs two processors"
    commands = "nproc; getconf _NPROCESSORS_ONLN; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online"
    assert (await run(driver, sandbox_id, commands)).output.split() == ["1", "1", "1", "0"]


async def test_two_sandboxes_start_on_different_processors(driver: NamespaceDriver, sandbox_id: str) -> None:
    other = node.new_spec()
    await driver.create(other)
    shown = {(await run(driver, one, "grep Cpus_allowed_list /proc/self/status")).output for one in (sandbox_id, other.sandbox_id)}
    assert len(shown) == 2
    await driver.kill(other.sandbox_id)


async def test_memory_is_the_limit(driver: NamespaceDriver, sandbox_id: str) -> None:
    lines = (await run(driver, sandbox_id, "free -m; stat -c '%U %a' /proc/meminfo")).output.splitlines()
    assert lines[1].split()[:2] == ["Mem:", "256"]
    assert lines[3] == "root 644"


async def test_the_quota_is_shown_and_nobody_elses(driver: NamespaceDriver, sandbox_id: str) -> None:
    listed = (await run(driver, sandbox_id, "cat /sys/fs/quota/max_referenced; ls /sys/fs")).output.split()
    assert listed == [str(512 << 20), "cgroup", "quota"]
