"""What root inside a sandbox is refused, and what it can see."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.guest.probe import CALLS, FAMILIES
from tests.conformance.security.conftest import attempt
from tests.product.instance import Instance

FORBIDDEN_CAPABILITIES = {
    "linux_immutable": 9,
    "net_admin": 12,
    "net_raw": 13,
    "sys_module": 16,
    "sys_rawio": 17,
    "sys_admin": 21,
    "sys_boot": 22,
    "sys_time": 25,
    "audit_control": 30,
    "mac_override": 32,
    "mac_admin": 33,
    "syslog": 34,
    "wake_alarm": 35,
    "block_suspend": 36,
    "audit_read": 37,
    "perfmon": 38,
    "bpf": 39,
    "checkpoint_restore": 40,
}
"""Bits of linux/capability.h that nothing in a sandbox may ever hold."""


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("user", ["root", "user"])
def test_system_calls_that_are_refused(sandbox: Sandbox, name: str, user: str) -> None:
    assert attempt(sandbox, f"probe call {name}", user=user).output.startswith("refused"), name


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_socket_families_that_are_refused(sandbox: Sandbox, name: str) -> None:
    assert attempt(sandbox, f"probe family {name}").output.startswith("refused")


@pytest.mark.parametrize("way", ["raw", "tiocsti", "clone", "setns /proc/1/ns/mnt", "setns /proc/1/ns/net", "setns /proc/1/ns/user"])
def test_other_ways_that_are_refused(sandbox: Sandbox, way: str) -> None:
    assert attempt(sandbox, f"probe {way}").output.startswith("refused")


def test_users_cannot_trace_the_first_process(sandbox: Sandbox) -> None:
    assert attempt(sandbox, "probe ptrace", user="user").output.startswith("refused")


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mount -t proc proc /mnt",
        "mount --bind / /mnt",
        "mount -o remount,rw /sys",
        "mount -o remount,rw /proc/sys",
        "umount /proc",
        "unshare --mount true",
        "unshare --user --map-root-user true",
        "unshare --net true",
        "unshare --pid --fork true",
        "mknod /tmp/disk b 8 0",
        "mknod /tmp/kmsg c 1 11",
        "echo h > /proc/sysrq-trigger",
        "echo /tmp/x > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo 0 > /proc/sys/kernel/randomize_va_space",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "dmesg",
        "date -s '2001-01-01'",
        "ip link set lo down",
        "ip link add probe type dummy",
        "ip addr add 10.0.0.99/24 dev lo",
        "ip route add 10.0.0.0/8 dev lo",
        "nft list ruleset",
        "cat /dev/mem",
        "cat /proc/kcore",
        "cat /proc/kallsyms | grep -v '^0000000000000000' | grep -q .",
        "cat /proc/kmsg",
        "ls /sys/kernel/debug/* /sys/kernel/tracing/*",
        "cat /sys/firmware/acpi/tables/*",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "mkdir /sys/fs/cgroup/escape || mkdir /sys/fs/cgroup/memory/escape",
        "cat /proc/1/environ | tr '\\0' '\\n' | grep -E 'SANDBANK|POSTGRES|SECRET|TOKEN|E2B_API'",
        "nsenter --target 1 --mount true",
    ],
)
def test_commands_that_are_refused(sandbox: Sandbox, command: str) -> None:
    assert attempt(sandbox, command).code != 0


def test_capabilities_are_bounded_and_cannot_be_regained(sandbox: Sandbox) -> None:
    status = attempt(sandbox, "cat /proc/self/status").output
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
        found = re.search(rf"^{kind}:\s*([0-9a-f]+)$", status, re.MULTILINE)
        assert found is not None
        held = {name for name, bit in FORBIDDEN_CAPABILITIES.items() if int(found[1], 16) >> bit & 1}
        assert held == set(), f"{kind} holds {held}"
    assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE)
    first = attempt(sandbox, "cat /proc/1/status").output
    assert re.search(r"^Seccomp:\s*2$", first, re.MULTILINE), "the first process runs without the filter"


def test_setuid_programs_work(sandbox: Sandbox) -> None:
    done = attempt(sandbox, "sudo -n id -u; sudo -n -u user id -un; sudo -n su user -c 'id -un'", user="user")
    assert done.output == "0\nuser\nuser\n"
    assert attempt(sandbox, "passwd -S user", user="user").code == 0
    assert attempt(sandbox, "install -m 4755 /usr/bin/id /tmp/setuid-id").code == 0
    assert attempt(sandbox, "/tmp/setuid-id -u", user="user").output == "0\n"


def test_root_inside_is_nobody_outside(sandbox: Sandbox, server: Instance) -> None:
    table = attempt(sandbox, "cat /proc/self/uid_map").output.split()
    inside, outside, length = (int(part) for part in table)
    assert (inside, length) == (0, 65536)
    assert outside >= server.uid_base


def test_no_process_of_the_node_is_visible(sandbox: Sandbox) -> None:
    pids = attempt(sandbox, "ls /proc | grep -E '^[0-9]+$'").output.split()
    assert len(pids) < 20
    names = attempt(sandbox, "cat /proc/[0-9]*/comm").output
    assert not re.search(r"systemd|sshd|dockerd|pytest|kthreadd", names)
    assert attempt(sandbox, f"kill -0 {os.getpid()}").code != 0


def test_no_path_of_the_node_is_named(sandbox: Sandbox, server: Instance) -> None:
    tables = "/proc/mounts /proc/self/mountinfo /proc/1/mountinfo /proc/self/cgroup /proc/1/cgroup"
    seen = attempt(sandbox, f"cat {tables}; find /proc/1/fd -printf '%l\n'").output
    for name in (str(server.data_dir), str(server.run_dir), "sandbank", str(Path.cwd()), server.name + "/"):
        assert name not in seen, f"{name} is visible in\n{seen}"


def test_no_file_of_the_node_is_reachable(sandbox: Sandbox, server: Instance) -> None:
    for path in (server.data_dir, server.run_dir, Path.cwd()):
        assert sandbox.files.exists(str(path)) is False
    for link in ("/proc/1/root", "/proc/1/cwd"):
        assert attempt(sandbox, f"ls {link}/{server.data_dir}").code != 0
    assert attempt(sandbox, "hostname").output.strip() != os.uname().nodename
    devices = attempt(sandbox, "find /dev -type b; find /dev -type c | sort").output.split()
    allowed = {"full", "null", "ptmx", "random", "tty", "urandom", "zero", "console"}
    unexpected = {name for name in devices if Path(name).name not in allowed and not name.startswith("/dev/pts/")}
    assert unexpected == set()


def test_no_interface_of_the_node_is_named(sandbox: Sandbox) -> None:
    host = set(os.listdir("/sys/class/net")) - {"lo", "eth0"}
    inside = set(attempt(sandbox, "ls /sys/class/net; cut -d: -f1 /proc/net/dev").output.split())
    assert inside & host == set()


def test_descriptors_of_the_node_do_not_leak(sandbox: Sandbox) -> None:
    listing = attempt(sandbox, "for p in /proc/[0-9]*; do ls -l $p/fd 2>/dev/null; done").output
    assert not re.search(r"\b(mnt|user|net|pid):\[|/sys/fs/cgroup|sandbank|\.sock\b|\.db\b", listing), listing


def test_file_systems_are_not_shared_and_sys_is_read_only(sandbox: Sandbox, neighbour: Sandbox) -> None:
    sandbox.commands.run("echo mine > /tmp/mine; echo mine > /dev/shm/mine; echo mine > /var/tmp/mine", user="root")
    for path in ("/tmp/mine", "/dev/shm/mine", "/var/tmp/mine"):
        assert neighbour.files.exists(path) is False
    mounts = [line.split() for line in attempt(sandbox, "cat /proc/mounts").output.splitlines()]
    for mount in mounts:
        if mount[1].startswith("/sys"):
            assert "ro" in mount[3].split(","), mount


def test_abstract_sockets_and_shared_memory_are_not_shared(sandbox: Sandbox, neighbour: Sandbox) -> None:
    server = "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('\\0probe'); s.listen(); time.sleep(60)"
    handle = sandbox.commands.run(f'python3 -c "{server}"', background=True)
    client = "import socket; socket.socket(socket.AF_UNIX).connect('\\0probe')"
    assert attempt(neighbour, f'python3 -c "{client}"').code != 0
    handle.kill()
    sandbox.commands.run("ipcmk -M 4096", user="root")
    assert "0x" not in attempt(neighbour, "ipcs -m").output
