"""What a sandbox says of its own size: `/metrics` (data-plane contract §4.3), and what programs inside read (ADR 0005)."""

from __future__ import annotations

import time
from typing import Any

import httpx
from e2b import Sandbox

from tests.product.instance import Instance


def measure(sandbox: Sandbox, server: Instance) -> dict[str, Any]:
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": str(sandbox._envd_access_token)}
    answer = httpx.get(f"{sandbox.envd_api_url}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    measured: dict[str, Any] = answer.json()
    return measured


def read(sandbox: Sandbox, command: str) -> str:
    return sandbox.commands.run(command).stdout.strip()


def test_every_field_is_there_and_of_this_sandbox(sandbox: Sandbox, server: Instance) -> None:
    """§4.3"""
    info = sandbox.get_info()
    measured = measure(sandbox, server)
    assert abs(measured["ts"] - time.time()) < 60
    assert measured["cpu_count"] == info.cpu_count
    assert measured["mem_total"] == info.memory_mb << 20
    assert (measured["mem_total_mib"], measured["mem_used_mib"]) == (info.memory_mb, measured["mem_used"] >> 20)
    assert 0 < measured["mem_used"] < measured["mem_total"]
    assert 0 <= measured["cpu_used_pct"] <= 100
    assert 0 < measured["disk_used"] < measured["disk_total"]


def test_memory_follows_what_is_used(sandbox: Sandbox, server: Instance) -> None:
    """§4.3: memory from the sandbox's own cgroup; tmpfs counts as used, page cache does not."""
    before = measure(sandbox, server)
    sandbox.commands.run("head -c 67108864 /dev/zero >/dev/shm/held")
    held = measure(sandbox, server)
    assert held["mem_used"] - before["mem_used"] > 60 << 20
    sandbox.commands.run("rm /dev/shm/held; head -c 67108864 /dev/zero >/tmp/cached; cat /tmp/cached >/dev/null")
    after = measure(sandbox, server)
    assert after["mem_used"] < before["mem_used"] + (20 << 20)
    assert after["mem_cache"] - before["mem_cache"] > 30 << 20


def test_disk_follows_what_is_written(sandbox: Sandbox, server: Instance) -> None:
    """§4.3: disk from the sandbox's own quota."""
    before = measure(sandbox, server)
    sandbox.commands.run("head -c 100000000 /dev/urandom >/tmp/written; sync -f /tmp/written")
    written = measure(sandbox, server)
    assert 90_000_000 < written["disk_used"] - before["disk_used"] < 130_000_000
    assert written["disk_total"] == before["disk_total"]


def test_processor_time_is_measured_between_calls(sandbox: Sandbox, server: Instance) -> None:
    """§4.3"""
    measure(sandbox, server)
    sandbox.commands.run("timeout 1 sh -c 'while :; do :; done' || true")
    assert measure(sandbox, server)["cpu_used_pct"] > 5


def test_free_shows_the_sandboxs_memory(sandbox: Sandbox, server: Instance) -> None:
    """ADR 0005"""
    total = sandbox.get_info().memory_mb << 20
    before = [int(field) for field in read(sandbox, "free -b | sed -n 2p").split()[1:]]
    assert before[0] == total
    assert sum(before[1:3]) <= total + before[3]
    sandbox.commands.run("head -c 100000000 /dev/zero >/dev/shm/held; sleep 0.6")
    after = [int(field) for field in read(sandbox, "free -b | sed -n 2p; rm /dev/shm/held").split()[1:]]
    assert before[5] - after[5] > 90_000_000
    assert read(sandbox, "free -b | sed -n 3p").split()[1:] == ["0", "0", "0"]


def test_programs_see_the_sandboxs_processors(sandbox: Sandbox, server: Instance) -> None:
    """ADR 0005"""
    count = str(sandbox.get_info().cpu_count)
    assert read(sandbox, "nproc") == count
    assert read(sandbox, "python3 -c 'import os; print(os.cpu_count())'") == count
    assert read(sandbox, "grep -c ^processor /proc/cpuinfo") == count


def test_disk_usage_of_neighbours_is_not_shown(sandbox: Sandbox, server: Instance) -> None:
    assert read(sandbox, "ls /sys/fs/btrfs /sys/fs/ext4 2>/dev/null || true") == ""
    assert int(read(sandbox, "cat /sys/fs/quota/max_referenced")) == measure(sandbox, server)["disk_total"]
