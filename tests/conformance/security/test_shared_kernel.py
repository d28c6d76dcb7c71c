"""What the kernel has once for everybody on a node: nobody inside a sandbox can use it up, and nobody reads in it of others."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.security.conftest import attempt
from tests.product.instance import Instance


@pytest.fixture
def victim(server: Instance) -> Iterator[Sandbox]:
    """A sandbox that wants everything."""
    made = Sandbox.create(timeout=300)
    yield made
    made.kill()


@contextmanager
def holding(sandbox: Sandbox, program: str) -> Iterator[str]:
    """A Python program as root of the sandbox, up to its line `holding`; the output so far. It is to keep what it took."""
    sandbox.files.write("/tmp/greedy.py", program + "\nprint('holding', flush=True)\nimport time\ntime.sleep(600)\n", user="root")
    running = sandbox.commands.run("python3 /tmp/greedy.py", user="root", background=True, timeout=0)
    seen = ""
    for out, err, _ in running:
        seen += (out or "") + (err or "")
        if "holding" in seen:
            break
    assert "holding" in seen, seen
    try:
        yield seen
    finally:
        running.kill()


def python(sandbox: Sandbox, program: str) -> str:
    """The output of a Python program as root of the sandbox."""
    return attempt(sandbox, f"python3 -c {shlex.quote(program)}").output


_TERMINALS = """
import os, resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
n = 0
try:
    while n < 10_000:
        os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
        n += 1
except OSError as error:
    print("limited", n, error.errno)
"""


def test_terminals_of_one_sandbox_leave_others_theirs(victim: Sandbox, neighbour: Sandbox) -> None:
    with holding(victim, _TERMINALS) as seen:
        assert "limited" in seen, seen
        opened = python(neighbour, "import os\nfor _ in range(100): os.openpty()\nprint('opened')")
        assert opened == "opened\n", opened


_AIO = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
n = 0
while n < 1000 and libc.syscall(206, 1000, ctypes.byref(ctypes.c_ulong(0))) >= 0:
    n += 1
print(n, ctypes.get_errno())
"""


def test_asynchronous_io_of_the_node_is_not_touched(victim: Sandbox) -> None:
    before = Path("/proc/sys/fs/aio-nr").read_text()
    with holding(victim, _AIO) as seen:
        assert Path("/proc/sys/fs/aio-nr").read_text() == before, seen


_DATAGRAMS = """
import socket
kept, sent = [], 0
for _ in range(4000):
    inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inbox.bind(("127.0.0.1", 0))
    kept.append(inbox)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(4):
            try:
                sender.sendto(bytes(50_000), inbox.getsockname())
            except OSError:
                break
for inbox in kept:
    try:
        while True:
            sent += len(inbox.recv(65536, socket.MSG_DONTWAIT))
    except OSError:
        pass
print("kept", sent >> 20)
"""


def test_what_waits_in_sockets_counts_as_the_sandboxes_memory(victim: Sandbox) -> None:
    limit_mib = victim.get_info().memory_mb
    done = attempt(victim, f"python3 -c {shlex.quote(_DATAGRAMS)}")
    if done.code == 0:  # or the sandbox was too small for that, which is the point as well
        assert int(done.output.split()[1]) < limit_mib // 2, f"{done.output} MiB of datagrams in a sandbox of {limit_mib} MiB"


@pytest.mark.parametrize("user", ["root", "user"])
@pytest.mark.parametrize("change", ["ulimit -c 0", "ulimit -c unlimited", "ulimit -Sc 0", "python3 /tmp/core.py"])
def test_no_crash_inside_starts_a_program_of_the_node(sandbox: Sandbox, user: str, change: str) -> None:
    """`core_pattern` is the node's. A limit of 1 is the one at which a pattern that begins with a pipe does nothing (core(5))."""
    sandbox.files.write("/tmp/core.py", "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", user="root")
    limits = attempt(sandbox, f"{change}; grep -i core /proc/self/limits; sh -c 'kill -SEGV $$'; ls core* 2>&-", user=user).output
    assert limits.split()[:6] == ["Max", "core", "file", "size", "1", "1"], limits


def test_the_tree_of_devices_tells_of_the_sandbox_only(sandbox: Sandbox, neighbour: Sandbox, server: Instance) -> None:
    assert attempt(sandbox, "ls /sys").output.split() == ["class", "devices", "fs"]
    assert set(attempt(sandbox, "ls /sys/fs").output.split()) <= {"cgroup", "quota"}  # its own groups, its own disk
    found = attempt(sandbox, "find /sys -name backing_file -o -name serial -o -name qgroups -o -name parameters -o -name energy_uj").output
    assert found == ""
    assert attempt(sandbox, f"grep -rsl -e {server.data_dir} -e {neighbour.sandbox_id} /sys").output == ""
    assert attempt(sandbox, "ls /sys/class/net; cat /sys/class/net/eth0/operstate").output.split() == ["eth0", "lo", "up"]
    assert attempt(sandbox, "lscpu >/dev/null && nproc").code == 0


def test_the_tree_of_processes_tells_nothing_of_disks_and_buses(sandbox: Sandbox) -> None:
    for name in ("acpi", "bus", "driver", "fs", "irq", "scsi"):
        assert attempt(sandbox, f"ls -A /proc/{name} 2>&-").output == "", name
    for name in ("diskstats", "interrupts", "keys", "locks", "partitions", "timer_list"):
        assert attempt(sandbox, f"cat /proc/{name}").output == "", name


_SOCKETS = """
import socket
made = []
for family in (socket.AF_INET, socket.AF_INET6):
    for kind in range(1, 11):
        for protocol in range(300):
            try:
                socket.socket(family, kind, protocol).close()
            except OSError:
                continue
            made.append((kind, protocol))
print(*sorted(set(made)))
"""


def test_only_everyday_protocols(sandbox: Sandbox) -> None:
    """Others, asked for by number, make kernels load modules."""
    made = python(sandbox, _SOCKETS)
    assert set(made.replace(") (", ")|(").strip().split("|")) <= {"(1, 0)", "(1, 6)", "(2, 0)", "(2, 1)", "(2, 17)", "(2, 58)"}, made


def test_flushing_everything_flushes_nothing_of_others(sandbox: Sandbox) -> None:
    """The calls succeed, as they always do; that they are not carried out is the filter's unit test."""
    assert attempt(sandbox, "sync && echo data > /tmp/flushed && sync -f /tmp/flushed && cat /tmp/flushed").output == "data\n"
