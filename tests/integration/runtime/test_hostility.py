"""Root inside turns on its own agent and its own first process: the node is not fooled, not held up, and can end the sandbox."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import http.client
import time

import pytest

from sandbank.domain.errors import NotFoundError
from sandbank.runtime.cgroup.group import Group
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_NO_ROOM_FOR_THE_AGENT = """
import os, signal, time
until = time.monotonic() + 4
if os.fork():
    os._exit(0)
os.setsid()
agents = [p for p in filter(str.isdigit, os.listdir("/proc")) if open(f"/proc/{p}/comm").read() == "envd\\n"]
made, killed = [], False
while time.monotonic() < until:
    try:
        if (pid := os.fork()) == 0:
            signal.pause()
        made.append(pid)
    except OSError:
        if not killed:
            killed = True
            for agent in agents:
                os.kill(int(agent), 9)
for pid in made:
    os.kill(pid, 9)
"""

_IMPOSTOR = """
import ctypes, os, socket, stat, time
if os.fork():
    os._exit(0)
os.setsid()
libc = ctypes.CDLL(None, use_errno=True)
first = libc.syscall(434, 1, 0)  # pidfd_open
stolen = [fd for fd in (libc.syscall(438, first, n, 0) for n in range(16)) if fd >= 0]  # pidfd_getfd: the listener among them
stolen = [fd for fd in stolen if stat.S_ISSOCK(os.fstat(fd).st_mode)]
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        name = open(f"/proc/{p}/comm").read()
    except OSError:  # it has ended
        continue
    if name == "envd\\n":
        os.kill(int(p), 19)
listener = next(s for s in map(lambda fd: socket.socket(fileno=fd), stolen) if s.family == socket.AF_INET)
listener.setblocking(True)
kept = []
while True:
    connection, _ = listener.accept()
    kept.append(connection)
    connection.sendall(ANSWER)
"""


_SPINNERS = """
import os, signal
def spin(*_):
    while True:
        pass
signal.signal(signal.SIGUSR1, spin)
try:
    while True:
        if os.fork() == 0:
            while True:
                signal.pause()
except OSError:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.killpg(0, signal.SIGUSR1)
    print("spinning", flush=True)
    signal.pause()
"""


async def test_thousands_that_spin_do_not_hold_up_their_end(driver: NamespaceDriver) -> None:
    """Their first process would have to wait for its turn among them before the kernel ends the rest: everything is killed by itself."""
    spec = node.new_spec(memory_mib=1024, pids=1024)
    await driver.create(spec)
    asking = asyncio.get_running_loop().create_task(run(driver, spec.sandbox_id, f"setsid -w python3 -c '{_SPINNERS}'", "root"))
    async with asyncio.timeout(50):
        while (await driver.stats(spec.sandbox_id)).pids < 1024:
            await asyncio.sleep(0.1)
    await driver.kill(spec.sandbox_id)
    with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
        await asking


async def test_a_slot_is_not_given_away_while_anything_runs_in_it(driver: NamespaceDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tenant would share users and loopback with what the kernel has not ended yet."""
    spec = node.new_spec()
    await driver.create(spec)
    slot = driver._running[spec.sandbox_id].slot
    with monkeypatch.context() as still_there:
        still_there.setattr(Group, "pids", lambda _: [2**22 + 1])
        await driver.kill(spec.sandbox_id)
        await asyncio.sleep(1.5)
        assert slot.index in driver._pool._used
    async with asyncio.timeout(5):
        while slot.index in driver._pool._used:
            await asyncio.sleep(0.05)


async def test_an_agent_that_finds_no_room_is_started_when_there_is(driver: NamespaceDriver) -> None:
    """Nothing of the sandbox ends meanwhile: its first process waits instead of dying of a failed fork."""
    spec = node.new_spec(pids=48)
    await driver.create(spec)
    with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):  # its answer ends with the agent
        await run(driver, spec.sandbox_id, f"python3 -c '{_NO_ROOM_FOR_THE_AGENT}'", "root")
    await asyncio.sleep(2)
    await driver.stats(spec.sandbox_id)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
                if (await run(driver, spec.sandbox_id, "echo back")).output == "back\n":
                    break
            await asyncio.sleep(0.2)
    await driver.kill(spec.sandbox_id)


@pytest.mark.parametrize(
    "answer",
    [
        'b"HTTP/1.1 200 OK\\r\\n" + b"X: y\\r\\n" * 100000',
        'b"HTTP/1.1 301 Moved\\r\\nLocation: http://169.254.169.254/\\r\\n\\r\\n"',
        'b"\\0" * 65536',
    ],
    ids=["endless-head", "redirect", "zeros"],
)
async def test_an_impostor_of_the_agent_is_of_no_use(driver: NamespaceDriver, sandbox_id: str, answer: str) -> None:
    """After a create the node asks the agent nothing: what it says of a sandbox is the kernel's word."""
    spec = node.new_spec()
    await driver.create(spec)
    starting = asyncio.create_task(run(driver, spec.sandbox_id, "python3 -c '" + _IMPOSTOR.replace("ANSWER", answer) + "'", "root"))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        said = b""
        while not said.startswith(_said(answer)):  # until it is the impostor who answers
            with contextlib.closing(driver.dial(spec.sandbox_id, 49983)) as connection:
                await loop.sock_sendall(connection, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(0.2):
                        said = await loop.sock_recv(connection, 20)
    stats = await driver.stats(spec.sandbox_id)
    assert (stats.memory_limit_bytes, stats.disk_limit_bytes) == (256 << 20, 512 << 20)
    assert (await run(driver, sandbox_id, "echo neighbour")).output == "neighbour\n"
    await driver.kill(spec.sandbox_id)
    with pytest.raises(NotFoundError):
        driver.dial(spec.sandbox_id, 49983)
    await asyncio.wait({starting})  # its agent is gone, with its connections
    starting.exception()


def _said(answer: str) -> bytes:
    return bytes(ast.literal_eval(answer.partition(" + ")[0].partition(" * ")[0]))[:15]


@pytest.mark.parametrize(
    "command",
    [
        "kill -STOP -1",
        "kill -9 -1",
        "kill -9 1; kill -TERM 1; kill -SEGV 1",
        "for p in /proc/[0-9]*; do kill -STOP ${p#/proc/}; done",
        "python3 -c 'import ctypes; ctypes.CDLL(None).ptrace(16, 1, 0, 0); import time; time.sleep(600)'",
        "(trap '' TERM HUP INT; mkfifo /tmp/f; for i in $(seq 100); do cat /tmp/f & done; wait)",
        "python3 -c 'import os\nwhile True: os.vfork() if hasattr(os, \"vfork\") else os.fork()'",
    ],
)
async def test_a_sandbox_in_any_state_can_be_ended(driver: NamespaceDriver, command: str) -> None:
    spec = node.new_spec(pids=64)
    await driver.create(spec)
    asking = asyncio.get_running_loop().create_task(run(driver, spec.sandbox_id, command, "root"))
    await asyncio.sleep(1)
    begun = time.monotonic()
    await driver.kill(spec.sandbox_id)
    assert time.monotonic() - begun < 10, "the bound of the driver's own settings"
    with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
        await asking
    async with asyncio.timeout(5):  # its first process is collected by the zygote
        while node.sandbox_processes():
            await asyncio.sleep(0.02)
