"""Forks of a running sandbox by the official SDK: until all of them answer, and what they cost."""

from __future__ import annotations

import time

from e2b import Sandbox

from benchmarks.memory import used_mib
from benchmarks.report import Row, percentile
from tests.product.instance import Instance

_HELD_MIB = 10
_PROGRAM = "import os,time; kept = os.urandom({} << 20); open('/tmp/has', 'w').close(); time.sleep(3600)"
_SETTLE_SECONDS = 4.0  # for the kernel to free what was ended


def measure_fork(instance: Instance, counts: tuple[int, ...], rounds: int) -> list[Row]:
    """One call for each count; every fork is then asked for what its parent had."""
    parent = Sandbox.create(timeout=3600)
    rows = []
    try:
        parent.commands.run(f'python3 -c "{_PROGRAM.format(_HELD_MIB)}"', background=True, timeout=0)
        parent.commands.run("until [ -e /tmp/has ]; do sleep 0.05; done; echo parent > /home/user/name")
        for count in counts:
            taken, grown = zip(*(_fork(parent, count) for _ in range(rounds if count <= 10 else 1)), strict=True)
            seconds = percentile(taken, 50)
            rows += [
                Row(f"fork of {count} ({_HELD_MIB} MiB in memory, SDK), p50", seconds * 1000, "ms", note=f"{len(taken)} samples"),
                Row("  by the fork", seconds / count * 1000, "ms"),
                Row("  memory by the fork", sum(grown) / len(grown) / count, "MiB"),
            ]
    finally:
        parent.kill()
    return rows


def _fork(parent: Sandbox, count: int) -> tuple[float, float]:
    before = used_mib()
    started = time.perf_counter()
    results = parent.fork(count=count, timeout=1800, request_timeout=600)
    taken = time.perf_counter() - started
    forks = [result for result in results if isinstance(result, Sandbox)]
    try:
        if len(forks) != count:
            raise RuntimeError(f"{count - len(forks)} of {count} failed: {next(result for result in results if result not in forks)!r}")
        names = {fork.files.read("/home/user/name") for fork in forks}
        if names != {"parent\n"}:
            raise RuntimeError(f"forks have {names!r}")
        time.sleep(_SETTLE_SECONDS)
        return taken, used_mib() - before
    finally:
        for fork in forks:
            fork.kill()
        time.sleep(_SETTLE_SECONDS)
