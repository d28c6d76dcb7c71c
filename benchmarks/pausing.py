"""Pause to disk and resume by the official SDK, by how much memory a process inside has, and what a snapshot takes on disk."""

from __future__ import annotations

import time
from pathlib import Path

from e2b import Sandbox

from benchmarks.report import Row, percentile
from tests.product.instance import Instance

WARM_UP = 1
_HOG = "import os,time; kept = os.urandom({} << 20); open('/tmp/has', 'w').close(); time.sleep(3600)"


def measure_pause(instance: Instance, rounds: int, megabytes: tuple[int, ...]) -> list[Row]:
    """Each size in a sandbox of its own, paused and connected to again and again; random data, which nothing can compress."""
    rows = []
    for size in megabytes:
        pauses, resumes, taken = _cycles(instance, rounds, size)
        hold = ("300", "250") if size <= 50 else ("", "")
        reach = ("100", "100") if size <= 50 else ("", "")
        rows += [
            Row(f"pause with {size} MiB in memory (SDK), p50", percentile(pauses, 50) * 1000, "ms", hold[0], reach[0], f"{rounds} samples"),
            Row("connect to that (SDK), p50", percentile(resumes, 50) * 1000, "ms", hold[1], reach[1]),
            Row("its snapshot on disk", taken, "MiB"),
        ]
    return rows


def _cycles(instance: Instance, rounds: int, size: int) -> tuple[list[float], list[float], float]:
    sandbox = Sandbox.create(timeout=600)
    try:
        if size:
            sandbox.commands.run(f'python3 -c "{_HOG.format(size)}"', background=True)
            sandbox.commands.run("until [ -e /tmp/has ]; do sleep 0.05; done")
        pauses, resumes = [], []
        for number in range(WARM_UP + rounds):
            started = time.perf_counter()
            sandbox.pause()
            paused = time.perf_counter()
            if number == WARM_UP:
                taken = _snapshots_mib(instance)
            between = time.perf_counter()
            Sandbox.connect(sandbox.sandbox_id, timeout=600)
            if number >= WARM_UP:
                pauses.append(paused - started)
                resumes.append(time.perf_counter() - between)
        return pauses, resumes, taken
    finally:
        sandbox.kill()


def _snapshots_mib(instance: Instance) -> float:
    """Of all snapshots there are, their memory only: files share their blocks with the sandbox's."""
    images = Path(instance.data_dir, "sandboxes", ".snapshots").glob("*/memory/*")
    return sum(image.stat().st_blocks for image in images) * 512 / 2**20
