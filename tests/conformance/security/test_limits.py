"""Memory, processor, process and disk limits: what exceeds them dies or waits alone."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from e2b import Sandbox

from tests.conformance.security.conftest import attempt
from tests.product.instance import SEEDED_API_KEY, Instance, wait_until


@contextmanager
def undisturbed(neighbour: Sandbox) -> Iterator[None]:
    """Keeps asking a neighbour and the API meanwhile, and raises if either fails to answer."""
    failures: list[str] = []
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            try:
                assert neighbour.commands.run("echo fine", timeout=30).stdout == "fine\n"
                assert neighbour.get_info().sandbox_id == neighbour.sandbox_id
                with Sandbox.create(timeout=60) as fresh:
                    assert fresh.commands.run("echo fresh", timeout=30).stdout == "fresh\n"
            except Exception as error:
                failures.append(repr(error))
            time.sleep(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert failures == []


@pytest.fixture
def victim(server: Instance) -> Iterator[Sandbox]:
    """A sandbox to exhaust."""
    made = Sandbox.create(timeout=300)
    yield made
    made.kill()


def test_memory_bomb_dies_alone(victim: Sandbox, neighbour: Sandbox) -> None:
    with undisturbed(neighbour):
        bomb = attempt(victim, 'exec python3 -c "b=[]\nwhile True: b.append(bytearray(1 << 24))"', user="user", timeout=120)
    assert bomb.code != 0
    assert attempt(victim, "echo survived", user="user").output == "survived\n", "the bomb took the whole sandbox with it"


def test_memory_bomb_in_files_dies_alone(victim: Sandbox, neighbour: Sandbox) -> None:
    with undisturbed(neighbour):
        attempt(victim, "head -c 20G /dev/zero > /dev/shm/bomb", timeout=120)
    assert attempt(victim, "rm -f /dev/shm/bomb; echo survived").output == "survived\n"


def test_fork_bomb_dies_alone(victim: Sandbox, neighbour: Sandbox) -> None:
    with undisturbed(neighbour):
        bomb = victim.commands.run("bomb() { bomb | bomb & }; bomb; sleep 8", background=True, timeout=0)
        time.sleep(6)
        bomb.disconnect()
        assert victim.kill() is True
    assert victim.is_running() is False


def test_memory_is_the_templates(victim: Sandbox) -> None:
    limit = victim.get_info().memory_mb
    code = f"import mmap; m=mmap.mmap(-1, {limit // 2} << 20)\nfor i in range(0, len(m), 4096): m[i] = 1"
    assert attempt(victim, f'python3 -c "{code}"', user="user").code == 0
    code = f"import mmap; m=mmap.mmap(-1, {limit * 5 // 4} << 20)\nfor i in range(0, len(m), 4096): m[i] = 1"
    assert attempt(victim, f'python3 -c "{code}"', user="user").code != 0


def test_processes_are_limited(victim: Sandbox) -> None:
    code = (
        "import os, time\n"
        "n = 0\n"
        "try:\n"
        "    while n < 40000:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(20); os._exit(0)\n"
        "        n += 1\n"
        "except OSError as error:\n"
        "    print('limited', error.errno)\n"
    )
    victim.files.write("/tmp/fork.py", code)
    handle = victim.commands.run("python3 /tmp/fork.py", background=True, timeout=0)
    seen = ""
    for out, _, _ in handle:
        seen += out or ""
        if "limited" in seen:
            break
    assert "limited 11" in seen


def test_processor_quota_holds(victim: Sandbox) -> None:
    cpus = victim.get_info().cpu_count
    burn = f"for i in $(seq {cpus * 2 + 2}); do timeout 3 sh -c 'while :; do :; done' & done; wait; times > /tmp/t; tail -n 1 /tmp/t"
    spent = attempt(victim, burn, user="user").output.split()
    seconds = sum(int(minutes) * 60 + float(rest.rstrip("s")) for minutes, _, rest in (part.partition("m") for part in spent))
    assert 0 < seconds <= cpus * 3 * 1.25 + 0.5, f"{seconds} s of processor time in 3 s with {cpus} processors"


def test_disk_is_limited(victim: Sandbox, neighbour: Sandbox, server: Instance) -> None:
    limit_mib = httpx.get(f"{server.api_url}/sandboxes/{victim.sandbox_id}", headers={"X-API-KEY": SEEDED_API_KEY}).json()["diskSizeMB"]
    with undisturbed(neighbour):
        done = attempt(victim, f"fallocate -l {limit_mib + 1024}M /home/user/huge", user="user", timeout=120)
    assert done.code != 0, "more could be written than the template's disk has"
    attempt(victim, "rm -f /home/user/huge")
    assert attempt(victim, "echo survived > /home/user/f && cat /home/user/f", user="user").output == "survived\n"


def test_open_files_and_inodes_of_the_node_are_not_exhausted(victim: Sandbox, neighbour: Sandbox) -> None:
    code = "import os\nn=0\ntry:\n    while True: os.open('/dev/null', 0); n += 1\nexcept OSError as e: print('limited', e.errno, n)"
    with undisturbed(neighbour):
        assert "limited 24" in attempt(victim, f'python3 -c "{code}"', user="user").output


def test_what_the_kernel_counts_by_user_is_counted_for_each_sandbox(victim: Sandbox, neighbour: Sandbox) -> None:
    """Inotify instances and queued signals: one sandbox takes all it gets, as root and in many processes, and its neighbour has its own."""
    victim.files.write("/tmp/greedy.py", _GREEDY)
    greedy = victim.commands.run("python3 /tmp/greedy.py", user="root", background=True, timeout=0)
    seen = ""
    for out, _, _ in greedy:
        seen += out or ""
        if "holding" in seen:
            break
    assert "inotify limited" in seen, seen
    assert "signals limited" in seen, seen
    modest = attempt(neighbour, f"python3 -c {shlex.quote(_MODEST)}")
    assert modest.output == "inotify fine\nsignals fine\n"
    watch = neighbour.files.watch_dir("/tmp")
    neighbour.files.write("/tmp/seen", "x")
    wait_until(lambda: bool(watch.get_new_events()), "an event for the neighbour's watcher")
    watch.stop()


_GREEDY = """
import ctypes, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)
n = 0
while libc.inotify_init1(0) >= 0 and n < 100_000:
    n += 1
print("inotify", "limited" if n < 100_000 else "unlimited", flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
n = 0
while libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), ctypes.c_void_p(0)) == 0 and n < 1_000_000:
    n += 1
print("signals", "limited" if n < 1_000_000 else "unlimited", flush=True)
print("holding", flush=True)
time.sleep(600)
"""

_MODEST = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
print("inotify", "fine" if libc.inotify_init1(0) >= 0 else "refused")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
print("signals", "fine" if libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), ctypes.c_void_p(0)) == 0 else "refused")
"""
