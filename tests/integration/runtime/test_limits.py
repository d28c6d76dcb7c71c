"""A sandbox that wants too much fails alone."""

from __future__ import annotations

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_FORK_BOMB = """
import os, time
made = 0
try:
    while True:
        os.fork() or (time.sleep(60), os._exit(0))
        made += 1
except OSError as error:
    print(made, error.errno, flush=True)
os.killpg(0, 9)
"""


async def test_a_memory_bomb_dies_alone(driver: NamespaceDriver, sandbox_id: str) -> None:
    victim = node.new_spec(memory_mib=128)
    await driver.create(victim)
    result = await run(driver, victim.sandbox_id, "python3 -c 'x = bytearray(512 << 20)'; echo $?")
    assert result.output.split()[-1] == "137", result
    assert (await run(driver, victim.sandbox_id, "echo still here")).output == "still here\n"
    assert (await run(driver, sandbox_id, "echo neighbour")).output == "neighbour\n"
    await driver.kill(victim.sandbox_id)


async def test_a_fork_bomb_meets_its_limit(driver: NamespaceDriver, sandbox_id: str) -> None:
    victim = node.new_spec(pids=64)
    await driver.create(victim)
    result = await run(driver, victim.sandbox_id, f"setsid python3 -c '{_FORK_BOMB}' 2>&1 || true")
    made, number = result.output.split()[:2]
    assert 0 < int(made) < 64
    assert number == "11"
    assert (await driver.stats(victim.sandbox_id)).pids <= 64
    assert (await run(driver, sandbox_id, "echo neighbour")).output == "neighbour\n"
    await driver.kill(victim.sandbox_id)
