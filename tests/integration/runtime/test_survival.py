"""Parts of the runtime are killed; sandboxes are not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading

import pytest

from sandbank.domain.errors import UnavailableError
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_CREATE_AND_WAIT = """
import asyncio
from tests.integration.runtime import node

async def main():
    driver = node.make_driver()
    await driver.start(lambda ended: None)
    spec = node.new_spec()
    await driver.create(spec)
    print(spec.sandbox_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_zygote_is_replaced_and_takes_no_sandbox_with_it(driver: NamespaceDriver, sandbox_id: str) -> None:
    old = driver._zygote.pid
    os.kill(old, signal.SIGKILL)
    amid = node.new_spec()
    # A request that the dying zygote had already been sent may be lost with it; then it fails, and clean.
    with contextlib.suppress(UnavailableError):
        await driver.create(amid)
    await driver.kill(amid.sandbox_id)
    second = node.new_spec()
    await driver.create(second)
    assert driver._zygote.pid != old
    for name in (sandbox_id, second.sandbox_id):
        assert (await run(driver, name, "echo alive")).output == "alive\n"
    await driver.kill(second.sandbox_id)


async def test_forks_made_ahead_end_with_their_zygote(driver: NamespaceDriver) -> None:
    old = driver._zygote.pid
    with open(f"/proc/{old}/task/{old}/children", encoding="ascii") as file:
        forks = file.read().split()
    assert forks
    os.kill(old, signal.SIGKILL)
    async with asyncio.timeout(5):
        while any(os.path.exists(f"/proc/{pid}") for pid in forks):  # ended, and collected
            await asyncio.sleep(0.05)


async def test_a_killed_agent_is_replaced(driver: NamespaceDriver, sandbox_id: str) -> None:
    agent = (await run(driver, sandbox_id, "pgrep -x envd", "root")).output.strip()
    (inside,) = [pid for pid in node.sandbox_processes() if _comm(pid) == "envd"]
    os.kill(inside, signal.SIGKILL)
    now = (await run(driver, sandbox_id, "pgrep -x envd", "root")).output.strip()  # waits in pid 1's listener
    assert now != agent


async def test_a_killed_driver_leaves_sandboxes_to_the_next() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CREATE_AND_WAIT, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    line = (await child.stdout.readline()).decode().strip()
    assert line, "the first driver did not create"
    child.kill()
    await child.wait()
    home = node.DATA_DIR / "sandboxes"
    pid = json.loads((home / line / "runtime.json").read_text())["pid"]
    (home / "never-acknowledged").mkdir()
    ended: list[str] = []
    driver = node.make_driver()
    report = await driver.start(lambda exit_: ended.append(exit_.sandbox_id))
    assert report.adopted == (line,)
    assert report.reclaimed == ("never-acknowledged",)
    assert (await run(driver, line, "echo adopted")).output == "adopted\n"
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while not ended or any(node.remains().values()):  # what is awaited happens in the kernel
            await asyncio.sleep(0.02)
    assert ended == [line]
    await driver.close()


async def test_files_that_take_long_to_remove_keep_nothing_else_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service gives a stop some seconds; on a slow disk the trash of one tenant takes longer."""
    driver = node.make_driver()
    await driver.start(lambda ended: None)
    zygote, go = driver._zygote.pid, threading.Event()
    monkeypatch.setattr(driver._homes, "empty_trash", lambda: go.wait(30))
    closing = asyncio.ensure_future(driver.close())
    await asyncio.wait({closing}, timeout=5)
    closing.cancel()
    await asyncio.wait({closing})
    try:
        assert not os.path.exists(f"/proc/{zygote}")
    finally:
        go.set()
        monkeypatch.undo()
        await driver.close()


async def test_files_that_take_long_to_remove_hold_up_no_other_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without quotas millions of files are removed one by one, and every kill empties the trash."""
    driver, go = node.make_driver(), threading.Event()
    await driver.start(lambda ended: None)
    monkeypatch.setattr(driver._homes, "empty_trash", lambda: go.wait(60))
    try:
        async with asyncio.timeout(30):
            for _ in range(min(32, (os.cpu_count() or 1) + 4) + 2):  # more than a loop has threads
                spec = node.new_spec()
                await driver.create(spec)
                await driver.kill(spec.sandbox_id)
    finally:
        go.set()
        monkeypatch.undo()
        await driver.close()
    assert not any(node.remains().values())


def _comm(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read().strip()
