"""What is to be seen and done inside."""

from __future__ import annotations

import os

from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.linux.privileges import KEPT_MASK
from tests.integration.runtime import node
from tests.integration.runtime.inside import run


async def test_only_its_own_processes(driver: NamespaceDriver, sandbox_id: str) -> None:
    shown = await run(driver, sandbox_id, "ps -e -o pid=,comm=")
    names = {line.split()[1] for line in shown.output.splitlines()}
    assert names <= {"sandbank-init", "envd", "sh", "ps"}, shown.output
    assert (await run(driver, sandbox_id, "tr '\\0' ' ' </proc/1/cmdline; tr '\\0' '\\n' </proc/1/environ", "root")).output.split() == [
        "sandbank-init"
    ]


async def test_no_path_of_the_node(driver: NamespaceDriver, sandbox_id: str) -> None:
    text = (
        await run(
            driver, sandbox_id, "cat /proc/mounts /proc/self/mountinfo; ls -l /proc/*/fd /proc/*/cwd /proc/*/root 2>/dev/null", "root"
        )
    ).output
    assert "overlay" in text
    assert str(node.DATA_DIR) not in text
    assert str(node.ROOTFS) not in text
    listed = await run(driver, sandbox_id, f"ls -d /work {node.DATA_DIR}; cat /proc/cmdline", "root")
    assert listed.output.count("No such file") == 2


async def test_no_descriptor_of_the_node(driver: NamespaceDriver, sandbox_id: str) -> None:
    """pid 1 has the null device three times and the listener."""
    shown = await run(driver, sandbox_id, "for f in /proc/1/fd/*; do readlink $f; done", "root")
    kinds = sorted(line.split(":")[0] for line in shown.output.splitlines())
    assert kinds == ["/dev/null", "/dev/null", "/dev/null", "socket"]


async def test_capabilities_are_bounded(driver: NamespaceDriver, sandbox_id: str) -> None:
    for user in ("root", "user"):
        shown = await run(driver, sandbox_id, "grep ^Cap /proc/self/status", user)
        masks = {key: int(value, 16) for key, value in (line.split(":") for line in shown.output.splitlines())}
        assert masks["CapBnd"] == KEPT_MASK
        assert masks["CapPrm"] & ~KEPT_MASK == 0
        assert masks["CapAmb"] == 0
    assert masks["CapEff"] == 0


async def test_the_filter_is_on_and_sudo_works(driver: NamespaceDriver, sandbox_id: str) -> None:
    shown = await run(
        driver,
        sandbox_id,
        "sudo -n sh -c 'id -u; grep -E \"^(Seccomp|NoNewPrivs):\" /proc/self/status; chown user /root && stat -c %U /root'",
    )
    assert shown.output.split() == ["0", "NoNewPrivs:", "0", "Seccomp:", "2", "user"], shown


async def test_forbidden_acts(driver: NamespaceDriver, sandbox_id: str) -> None:
    for command in (
        "unshare -U true",
        "unshare -n true",
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "mknod /tmp/disk b 253 0",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo b > /proc/sysrq-trigger",
        "mkdir /sys/fs/cgroup/memory/mine",
        "ip link set eth0 down",
        "hostname other",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
    ):
        result = await run(driver, sandbox_id, f"({command}) >/dev/null 2>&1 && echo done || echo refused", "root")
        assert result.output.strip() == "refused", command


async def test_files_are_the_sandboxs_own_and_gone_with_it(driver: NamespaceDriver, sandbox_id: str) -> None:
    await run(driver, sandbox_id, "echo mine > /etc/marker", "root")
    assert not os.path.exists(node.ROOTFS / "etc/marker")
    written = next(path for path in (node.DATA_DIR / "sandboxes" / sandbox_id).rglob("marker"))
    assert written.stat().st_uid == 0  # unshifted on disk


async def test_nothing_inside_can_outlive_the_node_when_memory_runs_out(driver: NamespaceDriver, sandbox_id: str) -> None:
    tried = "for score in -1 -900 -1000; do { echo $score >/proc/self/oom_score_adj && echo taken; } 2>&-; done; cat /proc/1/oom_score_adj"
    assert int((await run(driver, sandbox_id, tried, "root")).output) >= 0
