"""A node killed amid pauses and resumes: what was acknowledged is there afterwards, once."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_PAUSE_AND_RESUME = """
import asyncio, dataclasses, itertools, sys
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

async def main():
    driver = node.make_driver(frozen_share=float(sys.argv[1]))
    await driver.start(lambda ended: None)
    spec = node.new_spec()
    await driver.create(spec)
    name = spec.sandbox_id
    await run(driver, name, "(while sleep 0.02; do date +%s%N > /tmp/now; done) > /dev/null 2>&1 &")
    for number in itertools.count(1):
        assert (await run(driver, name, f"echo {number} > /home/user/file && sync && echo written")).output == "written\\n"
        print(name, number, flush=True)
        await driver.pause(name, f"{name}-{number}")
        await driver.create(dataclasses.replace(spec, snapshot_id=f"{name}-{number}", execution_id=str(number)))
        if number > 1:
            await driver.remove_snapshot(f"{name}-{number - 1}")

asyncio.run(main())
"""


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


@pytest.mark.parametrize("attempt", range(8))
async def test_a_node_killed_at_any_moment_loses_nothing_and_has_nothing_twice(attempt: int) -> None:
    chance = random.Random(attempt)
    share = "0.05" if attempt >= 4 else "0"  # what is paused stays in memory in half of the attempts
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PAUSE_AND_RESUME, share, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    for _ in range(chance.randrange(1, 4)):
        line = (await child.stdout.readline()).decode()
        assert line, "the node ended early"
    await asyncio.sleep(chance.random() * 0.6)
    sandboxes = set(node.sandbox_processes())
    # Half of the time its zygote as well, at the same moment; CRIU only ever ends by itself, as `make_driver` waits for it.
    doomed = [pid for pid in _descendants(child.pid) if pid not in sandboxes and _name(pid) == "sandbank-zygote"]
    child.kill()
    if attempt % 2:
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    rest = (await child.stdout.read()).decode().split()
    await child.wait()
    name, number = (rest or line.split())[-2:]

    driver = node.make_driver()
    report = await driver.start(lambda ended: None)
    snapshots = sorted(driver._saves.names(), key=lambda text: int(text.rpartition("-")[2]))
    try:
        await _check(driver, name, int(number), report.adopted, snapshots)
    finally:
        await driver.kill(name)
        for snapshot_id in snapshots:
            await driver.remove_snapshot(snapshot_id)
        async with asyncio.timeout(10):  # while the driver is there to collect what has ended
            while any(node.remains().values()):
                await asyncio.sleep(0.05)
        await driver.close()


async def _check(driver: NamespaceDriver, name: str, number: int, adopted: tuple[str, ...], snapshots: list[str]) -> None:
    assert adopted in ((), (name,))
    if not adopted:
        assert [pid for pid in node.sandbox_processes() if not _is_dead(pid)] == []
        assert snapshots, "neither the sandbox nor a snapshot is left"
        await driver.create(dataclasses.replace(node.new_spec(), sandbox_id=name, snapshot_id=snapshots[-1]))
    assert int((await run(driver, name, "cat /home/user/file")).output) >= number
    moments = {(await run(driver, name, "sleep 0.2; cat /tmp/now")).output for _ in range(2)}
    assert len(moments) == 2, "the sandbox's job does not go on"


def _is_dead(pid: int) -> bool:
    """Its parent, which was killed, can collect it no more; who inherits it may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
