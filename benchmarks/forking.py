"""Forks of a running sandbox: until all of them answer, and what they cost. By REST, since the SDK asks for no more than 20 at a time."""

from __future__ import annotations

import time

from e2b import Sandbox

from benchmarks.memory import used_mib
from benchmarks.report import Row, percentile
from benchmarks.rest import RestClient
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
            taken, grown = zip(*(_fork(instance, parent, count) for _ in range(rounds if count <= 10 else 1)), strict=True)
            seconds = percentile(taken, 50)
            rows += [
                Row(f"fork of {count} ({_HELD_MIB} MiB in memory, REST), p50", seconds * 1000, "ms", note=f"{len(taken)} samples"),
                Row("  by the fork", seconds / count * 1000, "ms"),
                Row("  memory by the fork", sum(grown) / len(grown) / count, "MiB"),
            ]
    finally:
        parent.kill()
    return rows


def _fork(instance: Instance, parent: Sandbox, count: int) -> tuple[float, float]:
    before = used_mib()
    with RestClient(instance) as client:
        started = time.perf_counter()
        results = client.request("POST", f"/sandboxes/{parent.sandbox_id}/fork", {"count": count, "timeout": 1800}, expect=201)
        taken = time.perf_counter() - started
        forks = [result["sandbox"]["sandboxID"] for result in results if "sandbox" in result]
        try:
            if len(forks) != count:
                raise RuntimeError(f"{count - len(forks)} of {count} failed: {next(result for result in results if 'error' in result)}")
            time.sleep(_SETTLE_SECONDS)
            grown = used_mib() - before
            names = {Sandbox.connect(fork).files.read("/home/user/name") for fork in forks}
            if names != {"parent\n"}:
                raise RuntimeError(f"forks have {names!r}")
            return taken, grown
        finally:
            for fork in forks:
                client.kill(fork)
            time.sleep(_SETTLE_SECONDS)
