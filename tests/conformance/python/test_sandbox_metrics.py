"""`get_metrics()` of the Python SDK, over what the node measures (rest-api contract §12, sdk-latest contract §1.3)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b import AsyncSandbox, Sandbox, SandboxException, SandboxMetrics

from tests.product.instance import Instance, wait_until

TEAM = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"


def first_points(sandbox: Sandbox) -> list[SandboxMetrics]:
    """§12.1: some seconds after the start."""
    wait_until(lambda: bool(sandbox.get_metrics()), "a first point has come", seconds=40)
    return sandbox.get_metrics()


def get(server: Instance, path: str) -> Any:
    answer = httpx.get(f"{server.api_url}{path}", headers={"X-API-Key": server.api_key})
    assert answer.status_code == 200, answer.text
    return answer.json()


def engine_pid(server: Instance) -> int:
    """Of this installation's embedded engine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sandbank.clickhouse.engine" in words and str(server.data_dir / "clickhouse").encode() in words:
            return int(path.parent.name)
    raise AssertionError("there is no engine")


def test_points_are_of_this_sandbox(sandbox: Sandbox) -> None:
    """§12.1."""
    info, point = sandbox.get_info(), first_points(sandbox)[0]
    assert point.cpu_count == info.cpu_count
    assert point.mem_total == info.memory_mb << 20
    assert 0 < point.mem_used < point.mem_total
    assert 0 <= point.cpu_used_pct <= 100
    assert 0 <= point.mem_cache <= point.mem_total
    assert 0 < point.disk_used < point.disk_total
    assert abs(point.timestamp - datetime.now(UTC)) < timedelta(minutes=2)


def test_points_follow_what_is_used(sandbox: Sandbox) -> None:
    """§12.1: percent of all vCPUs; memory that is held and disk that is written."""
    before = first_points(sandbox)[-1]
    burner = sandbox.commands.run("head -c 100000000 /dev/zero >/dev/shm/held; while :; do :; done", background=True, timeout=0)

    def shows() -> bool:
        points = sandbox.get_metrics(start=before.timestamp)
        return any(point.cpu_used_pct > 10 and point.mem_used - before.mem_used > 80_000_000 for point in points)

    wait_until(shows, "the load is measured", seconds=40)
    burner.kill()
    sandbox.commands.run("rm /dev/shm/held")


def test_ranges(sandbox: Sandbox) -> None:
    """§12.1: what was before the sandbox is empty."""
    first_points(sandbox)
    now = datetime.now(UTC)
    assert sandbox.get_metrics(start=now - timedelta(days=2), end=now - timedelta(days=1)) == []
    assert len(sandbox.get_metrics(start=now - timedelta(minutes=30), end=now)) == len(sandbox.get_metrics()), "the present second counts"


async def test_the_asynchronous_client_reads_them_too(sandbox: Sandbox) -> None:
    first_points(sandbox)
    points = await (await AsyncSandbox.connect(sandbox.sandbox_id)).get_metrics()
    assert [point.timestamp for point in points] == sorted(point.timestamp for point in points)
    assert points


def test_what_was_measured_outlives_the_sandbox(server: Instance) -> None:
    with Sandbox.create(timeout=60) as ended:
        first_points(ended)
    assert get(server, f"/sandboxes/{ended.sandbox_id}/metrics")
    assert list(get(server, f"/sandboxes/metrics?sandbox_ids={ended.sandbox_id}")["sandboxes"]) == [ended.sandbox_id]


def test_the_team_sees_what_it_runs_and_starts(sandbox: Sandbox, server: Instance) -> None:
    """§12.3, §12.4."""
    start = int(time.time()) - 3600
    path = f"/teams/{TEAM}/metrics/max?start={start}&metric="
    wait_until(lambda: get(server, f"{path}concurrent_sandboxes")["value"] >= 1, "a level has come", seconds=20)
    wait_until(lambda: get(server, f"{path}sandbox_start_rate")["value"] > 0, "a start was counted", seconds=20)
    points = get(server, f"/teams/{TEAM}/metrics?start={start}")
    assert {"timestamp", "timestampUnix", "concurrentSandboxes", "sandboxStartRate"} == set(points[0])


def test_a_killed_engine_costs_no_sandbox_and_comes_back_with_its_data(sandbox: Sandbox, server: Instance) -> None:
    known = first_points(sandbox)
    pid = engine_pid(server)
    os.kill(pid, signal.SIGKILL)
    with Sandbox.create(timeout=60) as made:
        assert made.commands.run("echo here").stdout == "here\n"

    def back() -> bool:
        with contextlib.suppress(SandboxException):  # 503 until then
            return len(sandbox.get_metrics()) > len(known)
        return False

    wait_until(back, "the next engine answers with old points and new ones", seconds=40)
    assert engine_pid(server) != pid
    assert sandbox.get_metrics()[0].timestamp == known[0].timestamp


@pytest.fixture(autouse=True)
def _serving(server: Instance) -> None:
    """Every test asks an installation that runs."""
