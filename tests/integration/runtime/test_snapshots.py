"""What a sandbox goes on with when it was paused: everything (design: pause; contract templates-and-data §2.4)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import random
from collections.abc import AsyncIterator

import pytest

from sandbank.domain.errors import ConflictError, NotFoundError
from sandbank.runtime.driver import AgentInit, SandboxSpec
from sandbank.runtime.drivers.namespaces import process
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from tests.integration.runtime import node
from tests.integration.runtime.inside import run

_LOOP = """
import time
def forever(step, path):
    n = 0
    while True:
        n += 1
        step()
        with open(path + ".new", "w") as file: file.write(str(n))
        import os; os.rename(path + ".new", path)
        time.sleep(0.05)
"""
_PROGRAMS = {
    "a heap that is checked": """
import zlib, os
heap = os.urandom(30_000_000); right = zlib.crc32(heap)
def step(): assert zlib.crc32(heap) == right
""",
    "a TCP connection to itself": """
import socket
listener = socket.socket(); listener.bind(("127.0.0.1", 9000)); listener.listen()
near = socket.create_connection(("127.0.0.1", 9000)); far, _ = listener.accept()
def step(): near.sendall(b"x"); assert far.recv(1) == b"x"
""",
    "Unix sockets": """
import socket
a, b = socket.socketpair()
listener = socket.socket(socket.AF_UNIX); listener.bind("/tmp/socket"); listener.listen()
near = socket.socket(socket.AF_UNIX); near.connect("/tmp/socket"); far, _ = listener.accept()
def step():
    for one, other in ((a, b), (near, far)):
        one.sendall(b"x"); assert other.recv(1) == b"x"
""",
    "files, pipes, threads and everything else that is open": """
import fcntl, mmap, os, select, threading, time
gone = open("/tmp/gone", "w+b"); gone.write(b"z" * 100_000); gone.flush(); os.unlink("/tmp/gone")
shared = mmap.mmap(-1, 1 << 20); memory = os.memfd_create("memory"); os.write(memory, b"m" * 10)
locked = open("/tmp/locked", "w"); fcntl.flock(locked, fcntl.LOCK_EX)
mapped = open("/dev/shm/mapped", "w+b"); mapped.write(b"s" * 1000); mapped.flush()
poll = select.epoll(); read, write = os.pipe(); poll.register(read, select.EPOLLIN)
threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(10**9)], daemon=True).start()
child = os.fork()
if child == 0:
    while True: time.sleep(0.01)
def step():
    os.write(write, b"a"); assert poll.poll(1); os.read(read, 1)
    shared[:4] = b"abcd"; gone.seek(0); assert len(gone.read()) == 100_000
    assert os.pread(memory, 10, 0) == b"m" * 10 and os.path.getsize("/dev/shm/mapped") == 1000
    os.kill(child, 0); assert threading.active_count() == 2
    other = open("/tmp/locked", "w")
    try: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB); raise SystemExit("unlocked")
    except BlockingIOError: pass
""",
}


@pytest.fixture
async def names(driver: NamespaceDriver) -> AsyncIterator[list[str]]:
    """Snapshots that are removed after the test."""
    names: list[str] = []
    yield names
    for name in names:
        await driver.remove_snapshot(name)


class Paused:
    """One sandbox through many pauses; it has one snapshot at a time."""

    def __init__(self, driver: NamespaceDriver, names: list[str]) -> None:
        self.driver = driver
        self.spec = node.new_spec()
        self.count = 0
        self._names = names

    @property
    def sandbox_id(self) -> str:
        return self.spec.sandbox_id

    async def cycle(self) -> None:
        self.count += 1
        snapshot_id = f"{self.sandbox_id}-{self.count}"
        self._names.append(snapshot_id)
        await self.driver.pause(self.sandbox_id, snapshot_id)
        assert node.sandbox_processes() == []
        await self.driver.create(dataclasses.replace(self.spec, snapshot_id=snapshot_id, execution_id=f"run-{self.count}"))
        await self.driver.remove_snapshot(self._names.pop())

    async def sh(self, command: str, user: str = "user") -> str:
        return (await run(self.driver, self.sandbox_id, command, user)).output


@pytest.fixture
async def paused(driver: NamespaceDriver, names: list[str]) -> AsyncIterator[Paused]:
    paused = Paused(driver, names)
    await driver.create(paused.spec)
    yield paused
    await driver.kill(paused.sandbox_id)


async def _count(paused: Paused) -> int:
    return int(await paused.sh("cat /tmp/count 2> /dev/null") or 0)


async def _more_than(paused: Paused, count: int) -> int:
    async with asyncio.timeout(20):
        while (now := await _count(paused)) <= count:
            await asyncio.sleep(0.1)
    return now


@pytest.mark.parametrize("program", _PROGRAMS)
async def test_a_process_goes_on_with(paused: Paused, program: str) -> None:
    text = f"{_LOOP}\n{_PROGRAMS[program]}\nforever(step, '/tmp/count')\n"
    await paused.sh(f"cat > /tmp/program.py <<'END'\n{text}\nEND")
    await paused.sh("setsid python3 /tmp/program.py > /tmp/said 2>&1 & echo $! > /tmp/pid")
    await paused.sh("until [ -e /tmp/count ] || [ -s /tmp/said ]; do sleep 0.05; done")
    count, pid = await _count(paused), await paused.sh("cat /tmp/pid")
    for _ in range(3):
        await paused.cycle()
        count = await _more_than(paused, count)
    assert await paused.sh(f"pgrep -f 'python3 /tmp/program.py' | grep -cx {pid}") == "1\n"
    assert await paused.sh("cat /tmp/said") == ""


async def test_tail_follows_and_jobs_of_a_shell_go_on(paused: Paused) -> None:
    await paused.sh("touch /tmp/log; setsid tail -f /tmp/log > /tmp/followed 2>&1 &")
    pipeline = "i=0; while sleep 0.05; do i=$((i+1)); echo $i; done | while read n; do echo $n > /tmp/new; mv /tmp/new /tmp/count; done"
    await paused.sh(f"setsid sh -c '{pipeline}' > /dev/null 2>&1 &")
    count = await _more_than(paused, 0)
    for number in range(3):
        await paused.cycle()
        await paused.sh(f"echo {number} >> /tmp/log")
        count = await _more_than(paused, count)
        async with asyncio.timeout(20):
            while len((await paused.sh("cat /tmp/followed")).split()) <= number:
                await asyncio.sleep(0.1)
    assert await paused.sh("cat /tmp/followed") == "0\n1\n2\n"


_LOCKS = """
import fcntl, mmap, os, struct, time
first = open("/tmp/mapped", "w+b"); first.write(bytes(8192)); first.flush(); mapped = mmap.mmap(first.fileno(), 8192)
plain = open("/tmp/plain", "w+b"); plain.write(bytes(8192)); plain.flush()
for file in (first, plain):
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 100); fcntl.lockf(file, fcntl.LOCK_SH, 1, 500)
n = 0
while True:
    n += 1; mapped[:8] = n.to_bytes(8, "big"); time.sleep(0.02)
    open("/tmp/new", "w").write(str(n)); os.rename("/tmp/new", "/tmp/count")
"""
_WHAT_IS_LOCKED = """
import fcntl
for name in ("mapped", "plain"):
    for kind, start in ((fcntl.LOCK_SH, 100), (fcntl.LOCK_SH, 110), (fcntl.LOCK_SH, 500), (fcntl.LOCK_EX, 500)):
        try: fcntl.lockf(open("/tmp/" + name, "r+b"), kind | fcntl.LOCK_NB, 1, start); print("free")
        except BlockingIOError: print("locked")
"""


async def test_ranges_of_files_stay_locked_and_stopped_jobs_stopped(paused: Paused) -> None:
    """A process with a file mapped and locked, as databases have theirs; CRIU alone loses these locks."""
    await paused.sh(f"cat > /tmp/locks.py <<'END'\n{_LOCKS}\nEND\ncat > /tmp/look.py <<'END'\n{_WHAT_IS_LOCKED}\nEND")
    await paused.sh("setsid python3 /tmp/locks.py > /tmp/said 2>&1 &")
    await paused.sh("setsid sh -c 'kill -STOP $$; echo let go > /tmp/stopped' > /dev/null 2>&1 &")
    count = await _more_than(paused, 0)
    states = "ps -o stat= -C python3 -C sh | grep -c ^T"
    for _ in range(3):
        await paused.cycle()
        assert (await paused.sh("python3 /tmp/look.py", "root")).split() == ["locked", "free", "free", "locked"] * 2
        count = await _more_than(paused, count)
        assert await paused.sh(states) == "1\n"
    assert await paused.sh("cat /tmp/said; pkill -CONT -f 'let go'; sleep 0.2; cat /tmp/stopped") == "let go\n"


async def test_what_was_true_inside_is_true_again(paused: Paused) -> None:
    """Users, limits, filters, mounts, names, the boot's identity: a resumed sandbox is no other."""
    mounts = r"cut -d' ' -f2-6 /proc/mounts | sed 's/,uuid=on//; s/[ug]id=[0-9]*//g' | sort"  # owners are shown as the node's
    look = (
        "sudo -n id -u; id; hostname; ls -ln --time-style=+ /dev /dev/shm; ls /sys/class/net /dev /dev/pts; "
        f"{mounts}; cat /proc/sys/kernel/random/boot_id;"
        " grep -E 'Seccomp:|NoNewPrivs|Cap' /proc/self/status; ulimit -a; grep MemTotal /proc/meminfo; nproc; cat /etc/hosts;"
        " cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    )
    before = await paused.sh(look)
    assert before.startswith("0\nuid=1000"), before
    for _ in range(3):
        await paused.cycle()
        assert (await paused.sh(look)).splitlines() == before.splitlines()


async def test_nothing_that_was_written_is_lost_in_any_mixture_of_cycles(paused: Paused) -> None:
    """Systems of this kind have lost what was written after the first resume."""
    chance = random.Random(4)
    model: dict[str, str] = {}
    for _ in range(8):
        for _ in range(chance.randrange(1, 6)):
            name, text = f"/home/user/{chance.randrange(8)}", str(chance.random())
            where = chance.choice(("", "", "/dev/shm"))
            if chance.random() < 0.2 and model:
                name = chance.choice(list(model))
                await paused.sh(f"rm {name}")
                del model[name]
                continue
            path = f"{where}{name}" if not where else f"{where}/{name.rpartition('/')[2]}"
            await paused.sh(f"echo {text} > {path}")
            model[path] = text
        for _ in range(chance.randrange(1, 3)):
            await paused.cycle()
        said = await paused.sh("for f in /home/user/[0-9] /dev/shm/[0-9]; do [ -e $f ] && echo $f $(cat $f); done")
        assert dict(line.split() for line in said.splitlines()) == model


async def test_connections_from_outside_end_and_new_ones_are_answered(paused: Paused) -> None:
    await paused.sh("cd /tmp; setsid python3 -m http.server 8000 --bind 0.0.0.0 > /dev/null 2>&1 &")
    await asyncio.sleep(2)
    listen = "s = socket.socket(); s.bind((chr(48), 8001)); s.listen(); c, _ = s.accept(); c.sendall(b'x')"
    await paused.sh(
        f'setsid python3 -c "import socket; {listen}\ntry: print(c.recv(1))\nexcept OSError as error: print(error)" > /tmp/said 2>&1 &'
    )
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    with contextlib.closing(paused.driver.dial(paused.sandbox_id, 8001)) as outside:
        assert await loop.sock_recv(outside, 1) == b"x"
        await paused.cycle()
    async with asyncio.timeout(10):
        while not (said := await paused.sh("cat /tmp/said")):  # and it does not wait for ever
            await asyncio.sleep(0.1)
    assert said in ("[Errno 103] Software caused connection abort\n", "[Errno 104] Connection reset by peer\n")
    with contextlib.closing(paused.driver.dial(paused.sandbox_id, 8000)) as connection:
        await loop.sock_sendall(connection, b"GET / HTTP/1.0\r\n\r\n")
        assert (await loop.sock_recv(connection, 100)).startswith(b"HTTP/1.0 200")


async def test_one_that_cannot_be_saved_runs_on_and_says_why(paused: Paused, names: list[str]) -> None:
    """Issue: a 409 with the reason, the sandbox keeps running untouched."""
    await paused.sh(
        "setsid python3 -c 'import ctypes, os, time\nlibc = ctypes.CDLL(None)\npid = os.fork()\n"
        "if pid == 0:\n libc.ptrace(0, 0, 0, 0)\n while True: time.sleep(0.05)\n"
        'open("/tmp/count", "w").write("1")\nwhile True: time.sleep(1)\' > /dev/null 2>&1 &'
    )
    await _more_than(paused, 0)
    with pytest.raises(ConflictError, match=r"debugged|traced") as refused:
        await paused.driver.pause(paused.sandbox_id, "never")
    assert "\n" not in refused.value.message
    assert not paused.driver.has_snapshot("never")
    assert await paused.sh("echo well") == "well\n"
    await paused.sh("pkill -9 -f ptrace")
    await paused.cycle()


async def test_a_snapshot_outlives_the_driver_and_whoever_it_adopted_can_be_paused() -> None:
    first = node.make_driver()
    await first.start(lambda ended: None)
    spec, other = node.new_spec(), node.new_spec()
    await first.create(spec)
    await first.create(other)
    await run(first, spec.sandbox_id, "echo kept > /home/user/file")
    await first.pause(spec.sandbox_id, "outlives")
    await first.close()

    second = node.make_driver()
    report = await second.start(lambda ended: None)
    assert report.adopted == (other.sandbox_id,)
    await second.pause(other.sandbox_id, "adopted")
    for paused, name in ((spec, "outlives"), (other, "adopted")):
        await second.create(dataclasses.replace(paused, snapshot_id=name))
        await second.remove_snapshot(name)
    assert (await run(second, spec.sandbox_id, "cat /home/user/file")).output == "kept\n"
    for paused in (spec, other):
        await second.kill(paused.sandbox_id)
    await second.close()


async def test_several_go_on_from_one_snapshot_side_by_side(driver: NamespaceDriver, paused: Paused, names: list[str]) -> None:
    names.append("many")
    await paused.sh("echo one > /home/user/file; (while sleep 0.05; do date +%s%N > /tmp/count; done) > /dev/null 2>&1 &")
    await driver.checkpoint(paused.sandbox_id, "many")
    assert await paused.sh("cat /home/user/file") == "one\n"
    init = AgentInit(access_token=None, env_vars={"ADDED": "yes"})
    twins = [dataclasses.replace(node.new_spec(), snapshot_id="many", init=init) for _ in range(3)]
    await asyncio.gather(*(driver.create(twin) for twin in twins))
    for number, twin in enumerate(twins):
        await run(driver, twin.sandbox_id, f"echo {number} > /home/user/file")
    seen = [(await run(driver, twin.sandbox_id, "cat /home/user/file")).output for twin in twins]
    assert seen == ["0\n", "1\n", "2\n"]
    assert await paused.sh("cat /home/user/file") == "one\n"
    for twin in twins:
        who = await run(driver, twin.sandbox_id, "echo $E2B_SANDBOX_ID $ADDED; cat /run/e2b/.E2B_SANDBOX_ID")
        assert who.output == f"{twin.sandbox_id} yes\n{twin.sandbox_id}"
    ranges = [driver._running[twin.sandbox_id].record.base_uid for twin in twins]
    assert len(set(ranges)) == 3
    for twin in twins:
        await driver.kill(twin.sandbox_id)


async def test_an_agent_that_dies_is_followed_by_one_that_knows_who_it_is_by_now(
    driver: NamespaceDriver, paused: Paused, names: list[str]
) -> None:
    """The next is started by the pid 1 that was saved, whose own configuration is the parent's. Data-plane contract §4.8."""
    names.append("heir")
    await driver.checkpoint(paused.sandbox_id, "heir")
    init = AgentInit(access_token="its own", env_vars={"ADDED": "yes"})
    heir = dataclasses.replace(node.new_spec(), snapshot_id="heir", init=init)
    await driver.create(heir)
    names.append("heirs")
    await driver.pause(heir.sandbox_id, "heirs")
    await driver.create(dataclasses.replace(heir, snapshot_id="heirs", execution_id="again"))
    old = (await run(driver, heir.sandbox_id, "pgrep -x envd", "root", "its own")).output
    with contextlib.suppress(http.client.HTTPException, OSError):  # its answer ends with it
        await run(driver, heir.sandbox_id, "pkill -KILL -x envd", "root", "its own")
    seen = (await run(driver, heir.sandbox_id, "echo $E2B_SANDBOX_ID $ADDED; pgrep -x envd", "root", "its own")).output
    assert seen.startswith(f"{heir.sandbox_id} yes\n")
    assert old not in seen
    with pytest.raises(AssertionError, match="unauthorized"):
        await run(driver, heir.sandbox_id, "true")
    await driver.kill(heir.sandbox_id)


async def test_nobody_gets_the_slot_of_a_resumed_sandbox(driver: NamespaceDriver, paused: Paused) -> None:
    """Its namespaces are those that CRIU has made: the next sandbox has some of its own. All have the slot's uid for an owner."""
    await paused.cycle()
    slot, before = driver._running[paused.sandbox_id].slot, driver._running[paused.sandbox_id].record
    assert process.namespace_owner(before.pid) == before.base_uid
    await driver.kill(paused.sandbox_id)
    async with asyncio.timeout(20):
        while slot.netns_fd >= 0:  # closed when it is destroyed
            await asyncio.sleep(0.05)
    await driver.create(paused.spec)
    record = driver._running[paused.sandbox_id].record
    assert process.namespace_owner(record.pid) == record.base_uid


async def test_what_is_not_there_is_neither_paused_nor_resumed(driver: NamespaceDriver) -> None:
    with pytest.raises(NotFoundError):
        await driver.pause("inobodyknows", "snapshot")
    spec: SandboxSpec = dataclasses.replace(node.new_spec(), snapshot_id="nothing")
    with pytest.raises(ConflictError, match="sandbox files for"):
        await driver.create(spec)


async def test_what_it_shares_with_others_is_not_in_its_snapshot_and_shared_again(driver: NamespaceDriver) -> None:
    """ADR 0015. Without it there would be 36 MiB of images, and as much in memory after a resume."""
    spec = node.new_spec()
    await driver.create(spec)
    for _ in range(2):
        await driver.pause(spec.sandbox_id, "shared")
        images = (driver._saves._store.memory("shared")).glob("*.img")
        assert sum(image.stat().st_size for image in images) < 16 << 20
        await driver.create(dataclasses.replace(spec, snapshot_id="shared"))
        assert (await driver.stats(spec.sandbox_id)).memory_bytes < 16 << 20
    await driver.kill(spec.sandbox_id)
    await driver.remove_snapshot("shared")
