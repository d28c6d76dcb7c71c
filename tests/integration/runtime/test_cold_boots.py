"""Snapshots of files alone, and what a sandbox that boots from one is (contract templates-and-data §2.5)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.runtime.driver import AgentInit, SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_COUNT = "(i=0; while sleep 0.02; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; done) > /dev/null 2>&1 &"


@pytest.fixture
async def spec(driver: NamespaceDriver) -> AsyncIterator[SandboxSpec]:
    """A sandbox with a job that counts, and what only its creation said."""
    spec = dataclasses.replace(node.new_spec(), init=AgentInit(None, {"COLOUR": "red", "SHAPE": "round"}, default_workdir="/srv"))
    await driver.create(spec)
    await run(driver, spec.sandbox_id, f"{_COUNT} until [ -e /tmp/count ]; do sleep 0.02; done")
    yield spec
    await driver.kill(spec.sandbox_id)
    for snapshot_id in driver._saves.names():
        await driver.remove_snapshot(snapshot_id)


def _next(spec: SandboxSpec, snapshot_id: str, *, boots: bool = False) -> SandboxSpec:
    return dataclasses.replace(spec, snapshot_id=snapshot_id, execution_id="next", init=AgentInit(None, {"SHAPE": "square"}), boots=boots)


async def _sh(driver: NamespaceDriver, spec: SandboxSpec, command: str, user: str = "user") -> str:
    return (await run(driver, spec.sandbox_id, command, user)).output


async def test_files_are_there_and_processes_are_not(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    await _sh(driver, spec, "echo kept > /home/user/file; rm /etc/issue; echo lost > /dev/shm/file", "root")
    before = await _sh(driver, spec, f"cat {_BOOT_ID}")
    await driver.pause(spec.sandbox_id, "files", memory=False)
    assert driver._groups.group(spec.sandbox_id).pids() == []
    assert not driver.has_memory("files")
    for _ in range(2):
        await driver.create(_next(spec, "files"))
        said = await _sh(
            driver, spec, "cat /home/user/file; ls /etc/issue 2>&1; ls /dev/shm; echo $COLOUR $SHAPE; pwd; pgrep -c sh; sudo -n id -u"
        )
        assert said == "kept\nls: cannot access '/etc/issue': No such file or directory\nred square\n/srv\n1\n0\n"
        first = await _sh(driver, spec, "cat /tmp/count")
        assert await _sh(driver, spec, "sleep 0.2; cat /tmp/count") == first
        after = await _sh(driver, spec, f"cat {_BOOT_ID}")
        assert after != before
        before = after
        await driver.pause(spec.sandbox_id, "again", memory=False)
        await driver.remove_snapshot("files")
        await driver.create(_next(spec, "again"))
        await driver.pause(spec.sandbox_id, "files", memory=False)


async def test_a_snapshot_with_memory_can_be_booted_from_as_well(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    before = await _sh(driver, spec, f"cat {_BOOT_ID}")
    await driver.pause(spec.sandbox_id, "memory")
    await driver.create(_next(spec, "memory"))
    assert await _sh(driver, spec, f"cat {_BOOT_ID}") == before, "a boot, to whoever looks"
    first = int(await _sh(driver, spec, "cat /tmp/count"))
    assert int(await _sh(driver, spec, "sleep 0.2; cat /tmp/count")) > first
    await driver.pause(spec.sandbox_id, "more")
    assert driver.has_memory("more")
    await driver.create(_next(spec, "more", boots=True))
    assert await _sh(driver, spec, f"cat {_BOOT_ID}") != before
    assert await _sh(driver, spec, "echo $COLOUR $SHAPE; pgrep -c sh") == "red square\n1\n"


async def test_it_runs_on_when_files_are_only_copied(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    await driver.checkpoint(spec.sandbox_id, "copy", memory=False)
    first = int(await _sh(driver, spec, "cat /tmp/count"))
    assert int(await _sh(driver, spec, "sleep 0.2; cat /tmp/count")) > first
    other = dataclasses.replace(_next(spec, "copy"), sandbox_id=f"{spec.sandbox_id}other")
    await driver.create(other)
    count = int(await _sh(driver, other, "cat /tmp/count"))
    assert 0 < count <= first
    assert await _sh(driver, other, f"cat {_BOOT_ID}") != await _sh(driver, spec, f"cat {_BOOT_ID}")
    await driver.kill(other.sandbox_id)


async def test_what_was_written_up_to_the_pause_is_there_whole(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    write = (
        "import os\nfor n in range(10**9):\n f = open(f'/home/user/{n:09}', 'w'); f.write(f'{n}' * 1000); f.close(); print(n, flush=True)"
    )
    await _sh(driver, spec, f'setsid python3 -c "{write}" > /tmp/done 2>&1 &')
    await asyncio.sleep(1)
    await driver.pause(spec.sandbox_id, "files", memory=False)
    await driver.create(_next(spec, "files"))
    each = "for n in range(int(open('/tmp/done').read().split()[-1]))"
    check = f"{each}: assert open(f'/home/user/{{n:09}}').read() == f'{{n}}' * 1000\nprint(n > 10)"
    assert await _sh(driver, spec, f'python3 -c "{check}"') == "True\n"


async def test_it_needs_no_criu(spec: SandboxSpec, driver: NamespaceDriver, tmp_path: Path) -> None:
    driver._saves._settings = NamespaceSettings()
    await driver.pause(spec.sandbox_id, "files", memory=False)
    await driver.create(_next(spec, "files"))
    assert int(await _sh(driver, spec, "cat /tmp/count")) > 0


async def test_the_nodes_boot_is_no_sandboxs_business(driver: NamespaceDriver, spec: SandboxSpec) -> None:
    nodes = Path(_BOOT_ID).read_text()
    assert await _sh(
        driver, spec, f"cat {_BOOT_ID}; umount {_BOOT_ID} 2> /dev/null; cat {_BOOT_ID}; sysctl -n kernel.random.boot_id", "root"
    )
    assert nodes not in await _sh(
        driver, spec, f"cat {_BOOT_ID}; umount {_BOOT_ID}; cat {_BOOT_ID}; sysctl -n kernel.random.boot_id", "root"
    )
